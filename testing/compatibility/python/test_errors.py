"""Errors: name, code, type, text and place."""

import trino

from support import Case

SYNTAX_ERROR, TABLE_NOT_FOUND, COLUMN_NOT_FOUND, DIVISION_BY_ZERO = 1, 46, 47, 8


class Errors(Case):
    """Each error as the client reports it."""

    def check(self, sql, name, start, code=None, place=None):
        with self.subTest(sql):
            error = self.failure(sql)
            self.assertEqual(error.error_name, name)
            self.assertEqual(error.error_type, "USER_ERROR")
            self.assertTrue(error.message.startswith(start), error.message)
            self.assertRegex(error.query_id, r"^\d{8}_\d{6}_\d{5}_[a-z0-9]{5}$")
            if code is not None:
                self.assertEqual(error.error_code, code)
            if place is not None:
                self.assertEqual(error.error_location, place)

    def test_syntax(self):
        self.check("SELEC 1", "SYNTAX_ERROR", "line 1:1: mismatched input 'SELEC'", SYNTAX_ERROR, (1, 1))
        self.check("SELECT 1 +", "SYNTAX_ERROR", "line 1:11: mismatched input '<EOF>'", SYNTAX_ERROR, (1, 11))
        self.check("SELECT *\nFROM FROM", "SYNTAX_ERROR", "line 2:6: mismatched input 'FROM'", SYNTAX_ERROR, (2, 6))
        self.check("SELECT 'a", "SYNTAX_ERROR", "line 1:8: ", SYNTAX_ERROR, (1, 8))

    def test_names(self):
        self.check(
            "SELECT nothing FROM nation",
            "COLUMN_NOT_FOUND",
            "line 1:8: Column 'nothing' cannot be resolved",
            COLUMN_NOT_FOUND,
            (1, 8),
        )
        self.check(
            "SELECT *\n  FROM nowhere",
            "TABLE_NOT_FOUND",
            "line 2:8: Table 'tpch.tiny.nowhere' does not exist",
            TABLE_NOT_FOUND,
            (2, 8),
        )
        self.check("SELECT * FROM nope.nation", "SCHEMA_NOT_FOUND", "line 1:15: Schema 'nope' does not exist")
        self.check("SELECT * FROM nope.tiny.nation", "CATALOG_NOT_FOUND", "line 1:15: Catalog 'nope' ")
        self.check("SELECT nope(1)", "FUNCTION_NOT_FOUND", "line 1:8: Function 'nope' not registered")
        self.check("SHOW TABLES FROM tpch.nope", "SCHEMA_NOT_FOUND", "line 1:1: Schema 'nope' does not exist")
        self.check("SHOW SCHEMAS FROM nope", "CATALOG_NOT_FOUND", "line 1:1: Catalog 'nope' ")
        self.check("DESCRIBE nowhere", "TABLE_NOT_FOUND", "line 1:1: Table 'tpch.tiny.nowhere' does not exist")

    def test_types(self):
        self.check("SELECT 1 = 'a'", "TYPE_MISMATCH", "")
        self.check("SELECT name FROM nation WHERE nationkey = 'x'", "TYPE_MISMATCH", "")
        self.check("SELECT name, count(*) FROM nation", "EXPRESSION_NOT_AGGREGATE", "line 1:8: 'name' must be")

    def test_values(self):
        self.check("SELECT 1 / 0", "DIVISION_BY_ZERO", "Division by zero", DIVISION_BY_ZERO)
        self.check("SELECT 1 / (nationkey - nationkey) FROM nation", "DIVISION_BY_ZERO", "Division by zero")
        self.check("SELECT CAST('x' AS bigint)", "INVALID_CAST_ARGUMENT", "")
        self.check("SELECT CAST(name AS bigint) FROM nation", "INVALID_CAST_ARGUMENT", "")
        self.check("SELECT (SELECT name FROM nation)", "SUBQUERY_MULTIPLE_ROWS", "Scalar sub-query has returned multiple rows")

    def test_statements_that_are_not_supported(self):
        self.check("INSERT INTO nation VALUES (1)", "NOT_SUPPORTED", "")

    def test_the_server_goes_on(self):
        connection = self.connect()
        for _ in range(20):
            self.failure("SELECT nothing", connection=connection)
        self.assertEqual(self.value("SELECT 1", connection=connection), 1)

    def test_a_user_is_required(self):
        with self.assertRaises(trino.exceptions.TrinoConnectionError, msg="Http400Error"):
            self.rows("SELECT 1", connection=self.connect(user=" "))
