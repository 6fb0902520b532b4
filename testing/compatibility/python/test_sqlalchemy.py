"""The client's SQLAlchemy dialect."""

import sqlalchemy
from sqlalchemy import inspect, select, text
from trino.sqlalchemy import URL

from support import Case


class Dialect(Case):
    """What frameworks on top of SQLAlchemy do first."""

    def setUp(self):
        host, port = self.cluster.server.removeprefix("http://").split(":")
        url = URL(host=host, port=int(port), user="alchemist", catalog="tpch", schema="tiny")
        self.engine = sqlalchemy.create_engine(url)
        self.addCleanup(self.engine.dispose)

    def test_inspection(self):
        inspector = inspect(self.engine)
        self.assertLessEqual({"tiny", "sf1"}, set(inspector.get_schema_names()))
        self.assertIn("lineitem", inspector.get_table_names(schema="tiny"))
        self.assertEqual(inspector.get_view_names(schema="tiny"), [])
        self.assertTrue(inspector.has_table("nation", schema="tiny"))
        self.assertFalse(inspector.has_table("nowhere", schema="tiny"))
        columns = {column["name"]: column for column in inspector.get_columns("nation", schema="tiny")}
        self.assertEqual(list(columns), ["nationkey", "name", "regionkey", "comment"])
        self.assertIsInstance(columns["nationkey"]["type"], sqlalchemy.BIGINT)
        self.assertEqual(columns["name"]["type"].length, 25)

    def test_reflected_tables_are_queried(self):
        nation = sqlalchemy.Table("nation", sqlalchemy.MetaData(), schema="tiny", autoload_with=self.engine)
        query = select(nation.c.name).where(nation.c.nationkey < 3).order_by(nation.c.name).limit(2)
        with self.engine.connect() as connection:
            self.assertEqual(connection.execute(query).fetchall(), [("ALGERIA",), ("ARGENTINA",)])

    def test_text_with_parameters(self):
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT name FROM nation WHERE nationkey = :key"), {"key": 24})
            self.assertEqual(found.scalar(), "UNITED STATES")
            self.assertEqual(self.engine.dialect.server_version_info, ("483",))
