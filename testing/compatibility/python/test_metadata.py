"""What clients ask of catalogs, plans and the cluster."""

from support import Case


class Metadata(Case):
    """`SHOW`, `DESCRIBE`, `EXPLAIN`, `information_schema`, `system`."""

    TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]

    def column(self, sql):
        return [row[0] for row in self.rows(sql)]

    def test_show(self):
        self.assertEqual(self.column("SHOW CATALOGS"), ["hive", "system", "tpch"])
        self.assertEqual(self.column("SHOW CATALOGS LIKE 't%'"), ["tpch"])
        schemas = self.column("SHOW SCHEMAS FROM tpch")
        self.assertEqual(schemas, sorted(schemas))
        self.assertLessEqual({"information_schema", "tiny", "sf1"}, set(schemas))
        self.assertEqual(self.column("SHOW TABLES"), self.TABLES)
        self.assertEqual(self.column("SHOW TABLES FROM tpch.sf1 LIKE '%s%pp%'"), ["partsupp", "supplier"])
        self.assertEqual(self.column("SHOW TABLES IN tiny LIKE 'part%'"), ["part", "partsupp"])
        functions = self.rows("SHOW FUNCTIONS")
        self.assertIn("count", {row[0] for row in functions})
        self.assertEqual({len(row) for row in functions}, {6})
        self.assertIn("CREATE TABLE tpch.tiny.nation", self.value("SHOW CREATE TABLE nation"))

    def test_describe(self):
        columns = [["regionkey", "bigint", "", ""], ["name", "varchar(25)", "", ""], ["comment", "varchar(152)", "", ""]]
        for sql in ("DESCRIBE region", "DESC tpch.tiny.region", "SHOW COLUMNS FROM region"):
            self.assertEqual(self.rows(sql), columns, sql)
        cursor = self.connect().cursor()
        cursor.execute("DESCRIBE region")
        cursor.fetchall()
        self.assertEqual([column.name for column in cursor.description], ["Column", "Type", "Extra", "Comment"])

    def test_explain(self):
        for sql in (
            "EXPLAIN SELECT count(*) FROM nation",
            "EXPLAIN (TYPE LOGICAL) SELECT count(*) FROM nation",
            "EXPLAIN (TYPE DISTRIBUTED) SELECT count(*) FROM nation",
            "EXPLAIN ANALYZE SELECT count(*) FROM nation",
        ):
            with self.subTest(sql):
                self.assertGreater(len(self.value(sql)), 20)
        self.assertIn("Fragment 0", self.value("EXPLAIN (TYPE DISTRIBUTED) SELECT count(*) FROM nation"))
        self.assertIs(self.value("EXPLAIN (TYPE VALIDATE) SELECT 1"), True)
        self.assertEqual(self.failure("EXPLAIN SELECT nothing FROM nation").error_name, "COLUMN_NOT_FOUND")

    def test_information_schema(self):
        self.assertEqual(
            self.column("SELECT table_name FROM information_schema.tables WHERE table_schema = 'tiny' ORDER BY 1"),
            self.TABLES,
        )
        self.assertEqual(
            self.rows(
                "SELECT column_name, data_type, ordinal_position, is_nullable FROM tpch.information_schema.columns"
                " WHERE table_schema = 'sf1' AND table_name = 'region' ORDER BY ordinal_position"
            ),
            [
                ["regionkey", "bigint", 1, "NO"],
                ["name", "varchar(25)", 2, "NO"],
                ["comment", "varchar(152)", 3, "NO"],
            ],
        )
        self.assertEqual(
            self.column("SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'tiny'"), ["tiny"]
        )
        self.assertEqual(self.rows("SELECT * FROM information_schema.views WHERE table_schema = 'tiny'"), [])

    def test_system(self):
        nodes = self.rows("SELECT node_id, coordinator, state, node_version FROM system.runtime.nodes ORDER BY 1")
        self.assertEqual(nodes, [["coordinator", True, "active", "483"], ["worker", False, "active", "483"]])
        self.assertEqual(self.column("SELECT catalog_name FROM system.metadata.catalogs ORDER BY 1"), ["hive", "system", "tpch"])
        self.assertEqual(self.column("SELECT table_cat FROM system.jdbc.catalogs ORDER BY 1"), ["hive", "system", "tpch"])
        marker = "SELECT 'a query that is looked for'"
        cursor = self.connect(source="marker").cursor()
        cursor.execute(marker)
        cursor.fetchall()
        [row] = self.rows(
            f"SELECT state, source, query, error_code FROM system.runtime.queries WHERE query_id = '{cursor.query_id}'"
        )
        self.assertEqual(row, ["FINISHED", "marker", marker, None])
        self.assertGreaterEqual(self.value("SELECT count(*) FROM system.runtime.tasks"), 0)

    def test_tables_of_files(self):
        connection = self.connect(catalog="hive", schema="from_python")
        cursor = connection.cursor()
        cursor.execute("CREATE SCHEMA hive.from_python")
        cursor.fetchall()
        self.assertEqual(cursor.update_type, "CREATE SCHEMA")
        self.addCleanup(self.rows, "DROP SCHEMA IF EXISTS hive.from_python")
        self.assertEqual(self.failure("CREATE SCHEMA hive.from_python").error_name, "SCHEMA_ALREADY_EXISTS")
        self.assertEqual(self.rows("SHOW TABLES", connection=connection), [])
        self.assertEqual(self.failure("DROP TABLE nothing", connection=connection).error_name, "TABLE_NOT_FOUND")
        self.rows("DROP TABLE IF EXISTS nothing", connection=connection)

    def test_the_server_tells_of_itself(self):
        info = self.cluster.document("/v1/info")
        self.assertEqual((info["nodeVersion"], info["coordinator"], info["starting"]), ({"version": "483"}, True, False))
        self.assertEqual(self.cluster.document("/v1/info/state"), "ACTIVE")
        self.assertEqual(self.value("SELECT version()"), "483")

    def test_statistics_of_a_query(self):
        cursor = self.connect().cursor()
        cursor.execute("SELECT orderkey FROM lineitem")
        self.assertEqual(len(cursor.fetchall()), 60175)
        stats = cursor.stats
        self.assertEqual((stats["state"], stats["queued"]), ("FINISHED", False))
        self.assertEqual(stats["completedSplits"], stats["totalSplits"])
        self.assertGreater(stats["totalSplits"], 0)
        self.assertGreaterEqual(stats["processedRows"], 60175)
        document = self.cluster.document(f"/v1/query/{cursor.query_id}")
        self.assertEqual((document["state"], document["session"]["user"]), ("FINISHED", "python"))
        self.assertIn(cursor.query_id, cursor.info_uri)
