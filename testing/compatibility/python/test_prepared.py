"""Prepared statements: parameters of the client, and the statements themselves."""

import datetime
import decimal

from support import Case


class Prepared(Case):
    """Parameters in every form in which the client sends them."""

    VALUES = [
        (1, 1),
        (2**40, 2**40),
        (True, True),
        (None, None),
        ("it's", "it's"),
        ("ünïcode 🦀", "ünïcode 🦀"),
        (1.5, 1.5),
        (1e20, 1e20),
        (float("inf"), float("inf")),
        (decimal.Decimal("0.10"), decimal.Decimal("0.10")),
        (b"abc", b"abc"),
        (datetime.date(2020, 2, 29), datetime.date(2020, 2, 29)),
        (datetime.datetime(2001, 8, 22, 3, 4, 5, 321000), datetime.datetime(2001, 8, 22, 3, 4, 5, 321000)),
        ([1, 2, 3], [1, 2, 3]),
        ({"a": 1}, {"a": 1}),
    ]

    def check_values(self, connection):
        for parameter, expected in self.VALUES:
            with self.subTest(parameter):
                self.assertEqual(self.value("SELECT ?", [parameter], connection), expected)

    def test_parameters_by_execute_immediate(self):
        self.check_values(self.connect(legacy_prepared_statements=False))

    def test_parameters_by_prepare_and_execute(self):
        self.check_values(self.connect(legacy_prepared_statements=True))

    def test_the_client_finds_out_which_way_to_go(self):
        self.assertEqual(self.rows("SELECT name FROM nation WHERE nationkey = ?", [3]), [["CANADA"]])

    def test_parameters_stand_anywhere(self):
        sql = "SELECT name, ? FROM nation WHERE nationkey BETWEEN ? AND ? AND name LIKE ? ORDER BY 1 LIMIT ?"
        for legacy in (False, True):
            connection = self.connect(legacy_prepared_statements=legacy)
            self.assertEqual(self.rows(sql, ["x", 1, 10, "E%", 1], connection), [["EGYPT", "x"]])

    def test_long_statements(self):
        sql = f"SELECT length('{'abcd' * 5000}') FROM nation WHERE nationkey = ?"
        for legacy in (False, True):
            connection = self.connect(legacy_prepared_statements=legacy)
            self.assertEqual(self.value(sql, [2], connection), 20000)

    def test_a_statement_lives_in_its_session(self):
        connection = self.connect()
        self.rows("PREPARE mine FROM SELECT name FROM nation WHERE nationkey = ?", connection=connection)
        self.assertEqual(self.value("EXECUTE mine USING 0", connection=connection), "ALGERIA")
        self.assertEqual(
            self.rows("DESCRIBE INPUT mine", connection=connection), [[0, "unknown"]]
        )
        [output] = self.rows("DESCRIBE OUTPUT mine", connection=connection)
        self.assertEqual((output[0], output[4]), ("name", "varchar(25)"))
        self.assertEqual(self.failure("EXECUTE mine USING 0").error_name, "NOT_FOUND")
        # The client forgets to take the header back when no statement is left.
        self.rows("PREPARE other FROM SELECT 1", connection=connection)
        self.rows("DEALLOCATE PREPARE mine", connection=connection)
        error = self.failure("EXECUTE mine USING 0", connection=connection)
        self.assertEqual((error.error_name, error.message), ("NOT_FOUND", "line 1:1: Prepared statement not found: mine"))

    def test_the_client_describes_a_statement(self):
        cursor = self.connect().cursor()
        described = cursor.describe("SELECT nationkey AS k, name FROM nation")
        self.assertEqual([(column.name, column.type) for column in described], [("k", "bigint"), ("name", "varchar(25)")])

    def test_errors(self):
        connection = self.connect()
        self.assertEqual(self.failure("PREPARE bad FROM SELEC 1", connection=connection).error_name, "SYNTAX_ERROR")
        self.rows("PREPARE two FROM SELECT ?, ?", connection=connection)
        error = self.failure("EXECUTE two USING 1", connection=connection)
        self.assertEqual(error.error_name, "INVALID_PARAMETER_USAGE")
        self.assertIn("Incorrect number of parameters: expected 2 but found 1", error.message)
        self.assertEqual(self.failure("DEALLOCATE PREPARE none", connection=connection).error_name, "NOT_FOUND")

    def test_many_rows_of_parameters(self):
        cursor = self.connect().cursor()
        values = ", ".join(["(?, ?)"] * 200)
        params = [part for number in range(200) for part in (number, f"n{number}")]
        cursor.execute(f"SELECT count(*), sum(a) FROM (VALUES {values}) AS t(a, b)", params)
        self.assertEqual(cursor.fetchall(), [[200, 19900]])
