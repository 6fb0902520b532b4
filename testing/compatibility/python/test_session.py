"""Sessions: properties, catalog and schema, time zone, transactions."""

import trino

from support import Case


class Session(Case):
    """What the client keeps of its session."""

    def shown(self, name, connection):
        pattern = name.replace("_", "\\_")
        [row] = self.rows(f"SHOW SESSION LIKE '{pattern}' ESCAPE '\\'", connection=connection)
        return row

    def test_a_property_is_set_and_reset(self):
        connection = self.connect()
        name, value, default = self.shown("query_max_run_time", connection)[:3]
        self.assertEqual((name, value), ("query_max_run_time", default))
        self.rows("SET SESSION query_max_run_time = '17m'", connection=connection)
        self.assertEqual(self.shown("query_max_run_time", connection)[1:3], ["17m", default])
        self.rows("RESET SESSION query_max_run_time", connection=connection)
        self.assertEqual(self.shown("query_max_run_time", connection)[1], default)

    def test_properties_come_with_the_connection(self):
        connection = self.connect(session_properties={"query_max_run_time": "19m", "task_retry_attempts_per_task": "2"})
        self.assertEqual(self.shown("query_max_run_time", connection)[1], "19m")
        self.assertEqual(self.shown("task_retry_attempts_per_task", connection)[1], "2")

    def test_properties_that_are_none(self):
        for sql, message in [
            ("SET SESSION no_such = 1", "line 1:1: Session property 'no_such' does not exist"),
            ("RESET SESSION no_such", "line 1:1: Session property 'no_such' does not exist"),
            ("SET SESSION query_max_run_time = 'soon'", "Session property 'query_max_run_time' is invalid"),
            ("SET SESSION task_retry_attempts_per_task = -1", "Session property 'task_retry_attempts_per_task' is invalid"),
            ("SET SESSION retry_policy = 'SOMETIMES'", "Session property 'retry_policy' is invalid"),
        ]:
            with self.subTest(sql):
                error = self.failure(sql)
                self.assertEqual((error.error_name, error.error_type), ("INVALID_SESSION_PROPERTY", "USER_ERROR"))
                self.assertIn(message.removeprefix("line 1:1: "), error.message)

    def test_properties_of_the_connection_that_are_none(self):
        for properties in ({"no_such": "1"}, {"query_max_run_time": "soon"}):
            with self.subTest(properties):
                error = self.failure("SELECT 1", connection=self.connect(session_properties=properties))
                self.assertEqual(error.error_name, "INVALID_SESSION_PROPERTY")

    def test_show_session(self):
        rows = self.rows("SHOW SESSION")
        names = [row[0] for row in rows]
        self.assertEqual(names, sorted(names))
        self.assertIn("query_max_execution_time", names)
        self.assertTrue(all(len(row) == 5 and row[4] for row in rows))

    def test_use_changes_catalog_and_schema(self):
        connection = self.connect(catalog=None, schema=None)
        self.assertEqual(self.failure("SELECT * FROM nation", connection=connection).error_name, "MISSING_SCHEMA_NAME")
        self.rows("USE tpch.tiny", connection=connection)
        self.assertEqual(
            self.rows("SELECT current_catalog, current_schema", connection=connection), [["tpch", "tiny"]]
        )
        self.assertEqual(self.value("SELECT count(*) FROM nation", connection=connection), 25)
        self.rows("USE sf1", connection=connection)
        self.assertEqual(self.value("SELECT current_schema", connection=connection), "sf1")
        for sql in ("USE nope.tiny", "USE tpch.nope"):
            self.assertIn(self.failure(sql, connection=connection).error_name, ("CATALOG_NOT_FOUND", "SCHEMA_NOT_FOUND"))
        self.assertEqual(self.value("SELECT current_schema", connection=connection), "sf1")

    def test_names_in_headers_have_any_case(self):
        self.assertEqual(self.value("SELECT count(*) FROM Nation", connection=self.connect(catalog="TPCH", schema="Tiny")), 25)

    def test_the_user_and_the_time_zone(self):
        connection = self.connect(user="alice", timezone="Europe/Berlin")
        self.assertEqual(
            self.rows("SELECT current_user, current_timezone()", connection=connection), [["alice", "Europe/Berlin"]]
        )
        self.rows("SET TIME ZONE 'Asia/Tokyo'", connection=connection)
        self.assertEqual(self.value("SELECT current_timezone()", connection=connection), "Asia/Tokyo")


class Transactions(Case):
    """Transactions, by the client's isolation level."""

    def test_a_transaction_is_committed(self):
        connection = self.connect(isolation_level=trino.transaction.IsolationLevel.REPEATABLE_READ)
        with connection:
            self.assertEqual(self.value("SELECT count(*) FROM nation", connection=connection), 25)
            self.assertIsNotNone(connection.transaction)
            self.assertNotIn(connection.transaction.id, (None, "NONE"))
            self.assertEqual(self.value("SELECT 2", connection=connection), 2)

    def test_a_transaction_is_rolled_back(self):
        connection = self.connect(isolation_level=trino.transaction.IsolationLevel.READ_UNCOMMITTED)
        self.assertEqual(self.value("SELECT 1", connection=connection), 1)
        connection.rollback()
        self.assertEqual(self.value("SELECT 1", connection=connection), 1)
        connection.commit()

    def test_there_is_nothing_to_commit(self):
        self.assertEqual(self.failure("COMMIT").error_name, "NOT_IN_TRANSACTION")
