"""Values of every type, as the client decodes them, and as they travel."""

import datetime
import decimal
import math
import uuid

from dateutil.relativedelta import relativedelta

from support import Case

UTC = datetime.timezone.utc


class Types(Case):
    """Each value in one row, and beside a NULL of its type."""

    def check(self, expression, type_name, expected):
        with self.subTest(expression):
            cursor = self.connect().cursor()
            cursor.execute(f"SELECT x FROM (SELECT {expression}) AS t(x)")
            rows = cursor.fetchall()
            self.assertEqual(cursor.description[0].name, "x")
            self.assertEqual(cursor.description[0].type_code, type_name)
            self.assertEqual(len(rows), 1)
            value = rows[0][0]
            if isinstance(expected, float) and math.isnan(expected):
                self.assertTrue(math.isnan(value), value)
            else:
                self.assertEqual(value, expected)
                self.assertIs(type(value), type(expected))

    def test_numbers(self):
        self.check("1", "integer", 1)
        self.check("-2147483648", "integer", -2147483648)
        self.check("BIGINT '9223372036854775807'", "bigint", 9223372036854775807)
        self.check("CAST(-9223372036854775808 AS bigint)", "bigint", -9223372036854775808)
        self.check("SMALLINT '-32768'", "smallint", -32768)
        self.check("TINYINT '127'", "tinyint", 127)
        self.check("count(*)", "bigint", 1)

    def test_floats(self):
        self.check("1e0", "double", 1.0)
        self.check("DOUBLE '-0.0'", "double", -0.0)
        self.check("1e10", "double", 1e10)
        self.check("1e-5", "double", 1e-5)
        self.check("DOUBLE '1.7976931348623157E308'", "double", 1.7976931348623157e308)
        self.check("DOUBLE '4.9E-324'", "double", 5e-324)
        self.check("REAL '1.5'", "real", 1.5)
        self.check("nan()", "double", math.nan)
        self.check("0e0 / 0e0", "double", math.nan)
        self.check("1e0 / 0e0", "double", math.inf)
        self.check("-1e0 / 0e0", "double", -math.inf)

    def test_decimals(self):
        self.check("DECIMAL '123.40'", "decimal(5, 2)", decimal.Decimal("123.40"))
        self.check("-0.05", "decimal(2, 2)", decimal.Decimal("-0.05"))
        largest = "9" * 38
        self.check(f"DECIMAL '{largest}'", "decimal(38, 0)", decimal.Decimal(largest))
        self.check("CAST(1 AS decimal(10, 3))", "decimal(10, 3)", decimal.Decimal("1.000"))

    def test_texts(self):
        self.check("'a'", "varchar", "a")
        self.check("''", "varchar", "")
        self.check("'it''s ünïcode 🦀 \"quoted\" \\ \n\t'", "varchar", "it's ünïcode 🦀 \"quoted\" \\ \n\t")
        self.check("CAST('a' AS varchar)", "varchar", "a")
        self.check("X'00ff7f'", "varbinary", b"\x00\xff\x7f")
        self.check("X''", "varbinary", b"")

    def test_booleans(self):
        self.check("true", "boolean", True)
        self.check("1 = 2", "boolean", False)

    def test_dates_and_times(self):
        self.check("DATE '2020-02-29'", "date", datetime.date(2020, 2, 29))
        self.check("DATE '0001-01-01'", "date", datetime.date(1, 1, 1))
        self.check("DATE '9999-12-31'", "date", datetime.date(9999, 12, 31))
        self.check(
            "TIMESTAMP '2020-02-29 01:02:03.123'", "timestamp(3)", datetime.datetime(2020, 2, 29, 1, 2, 3, 123000)
        )
        self.check(
            "TIMESTAMP '2020-02-29 01:02:03.123456'", "timestamp(6)", datetime.datetime(2020, 2, 29, 1, 2, 3, 123456)
        )
        self.check("TIMESTAMP '1969-12-31 23:59:59'", "timestamp(0)", datetime.datetime(1969, 12, 31, 23, 59, 59))
        self.assertEqual(self.value("SELECT CAST('01:02:03.123' AS time)"), datetime.time(1, 2, 3, 123000))

    def test_instants(self):
        now = self.value("SELECT now()")
        self.assertEqual(now.utcoffset(), datetime.timedelta(0))
        self.assertLess(abs(datetime.datetime.now(UTC) - now), datetime.timedelta(minutes=1))
        today = self.value("SELECT current_date")
        self.assertLessEqual(abs((datetime.datetime.now(UTC).date() - today).days), 1)

    def test_intervals(self):
        day = "interval day to second"
        self.check("INTERVAL '2' DAY", day, datetime.timedelta(days=2))
        self.check("INTERVAL '-3' HOUR", day, datetime.timedelta(hours=-3))
        self.check("INTERVAL '90' SECOND", day, datetime.timedelta(seconds=90))
        month = "interval year to month"
        self.check("INTERVAL '14' MONTH", month, relativedelta(years=1, months=2))
        self.check("INTERVAL '-3' YEAR", month, relativedelta(years=-3))

    def test_arrays(self):
        self.check("ARRAY[1, NULL, 3]", "array(integer)", [1, None, 3])
        self.check("ARRAY['a', 'b']", "array(varchar)", ["a", "b"])
        self.check("ARRAY[ARRAY[1], ARRAY[2, 3]]", "array(array(integer))", [[1], [2, 3]])
        self.check("ARRAY[1e0, nan()][1]", "double", 1.0)
        self.check("ARRAY[DATE '2020-01-01']", "array(date)", [datetime.date(2020, 1, 1)])

    def test_maps(self):
        self.check("MAP(ARRAY['a', 'b'], ARRAY[1, NULL])", "map(varchar, integer)", {"a": 1, "b": None})
        self.check("MAP(ARRAY[1, 2], ARRAY['x', 'y'])", "map(integer, varchar)", {1: "x", 2: "y"})

    def test_rows(self):
        cursor = self.connect().cursor()
        cursor.execute("SELECT ROW(1, 'a', true)")
        [[row]] = cursor.fetchall()
        self.assertEqual(cursor.description[0].type_code, "row(integer, varchar, boolean)")
        self.assertEqual(tuple(row), (1, "a", True))
        nested = self.value("SELECT ROW(ROW(1, NULL), ARRAY['a'])")
        self.assertEqual((tuple(nested[0]), nested[1]), ((1, None), ["a"]))

    def test_nulls(self):
        self.check("NULL", "unknown", None)
        for type_name in (
            "boolean", "bigint", "integer", "double", "varchar", "varbinary", "date", "timestamp(3)", "decimal(10, 2)",
        ):
            self.check(f"CAST(NULL AS {type_name})", type_name, None)

    def test_uuids(self):
        value = self.value("SELECT uuid()")
        self.assertEqual(uuid.UUID(str(value)).version, 4)

    def test_columns_of_tables(self):
        cursor = self.connect().cursor()
        cursor.execute("SELECT * FROM orders ORDER BY orderkey LIMIT 1")
        self.assertEqual(
            [(column.name, column.type_code) for column in cursor.description],
            [
                ("orderkey", "bigint"),
                ("custkey", "bigint"),
                ("orderstatus", "varchar(1)"),
                ("totalprice", "double"),
                ("orderdate", "date"),
                ("orderpriority", "varchar(15)"),
                ("clerk", "varchar(15)"),
                ("shippriority", "integer"),
                ("comment", "varchar(79)"),
            ],
        )
        row = cursor.fetchone()
        self.assertEqual(row[:5], [1, 370, "O", 172799.49, datetime.date(1996, 1, 2)])

    def test_many_rows_keep_their_order_and_nulls(self):
        rows = self.rows("SELECT x, nullif(x % 3, 0) FROM UNNEST(sequence(1, 2000)) AS t(x) ORDER BY x DESC")
        self.assertEqual(rows, [[x, x % 3 or None] for x in range(2000, 0, -1)])

    def test_values_as_they_travel(self):
        """Without the client's decoding: what the server writes."""
        connection = self.connect(legacy_primitive_types=True)
        for expression, expected in [
            ("1e0", 1.0),
            ("nan()", "NaN"),
            ("-1e0 / 0e0", "-Infinity"),
            ("DECIMAL '1.50'", "1.50"),
            ("DATE '2020-01-31'", "2020-01-31"),
            ("TIMESTAMP '2020-01-01 01:02:03.120'", "2020-01-01 01:02:03.120"),
            ("TIMESTAMP '2020-01-01 01:02:03'", "2020-01-01 01:02:03"),
            ("X'616263'", "YWJj"),
            ("INTERVAL '3' DAY", "3 00:00:00.000"),
            ("INTERVAL '-5' MONTH", "-0-5"),
            ("ROW(1, NULL)", [1, None]),
            ("MAP(ARRAY[1], ARRAY[2])", {"1": 2}),
        ]:
            with self.subTest(expression):
                self.assertEqual(self.value(f"SELECT {expression}", connection=connection), expected)
