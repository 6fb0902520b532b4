"""The strict decoder refuses what the Java client refuses."""

import unittest

import strict_decoder

STATS = {"state": "RUNNING", "queued": False, "nodes": 1, "progressPercentage": 12.5}


def page(raw_type, value, arguments=(), **members):
    """A page with one value."""
    signature = {"rawType": raw_type, "arguments": list(arguments)}
    columns = [{"name": "a", "type": raw_type, "typeSignature": signature}]
    return {"id": "q", "infoUri": "u", "columns": columns, "data": [[value]], "stats": STATS, "warnings": [], **members}


class StrictDecoder(unittest.TestCase):
    """Pages that are taken, and pages that are not."""

    BIGINT = {"kind": "TYPE", "value": {"rawType": "bigint", "arguments": []}}
    LENGTH = {"kind": "LONG", "value": 3}

    def test_pages_that_are_taken(self):
        for good in (
            page("double", 1.0),
            page("double", "NaN"),
            page("double", None),
            page("bigint", 1),
            page("varchar", "a", [self.LENGTH]),
            page("varbinary", "YWJj"),
            page("array", [1, None], [self.BIGINT]),
            page("map", {"1": 2}, [self.BIGINT, self.BIGINT]),
        ):
            strict_decoder.check(good)

    def test_pages_that_are_refused(self):
        for bad in (
            page("double", 1),
            page("bigint", 1.0),
            page("bigint", True),
            page("boolean", 1),
            page("varchar", "a"),
            page("decimal", 1.5, [self.LENGTH, self.LENGTH]),
            page("varbinary", "%"),
            page("array", ["a"], [self.BIGINT]),
            page("map", [[1, 2]], [self.BIGINT, self.BIGINT]),
            page("bigint", 1, data=[]),
            page("bigint", 1, data=None),
            page("bigint", 1, data=[[1, 2]]),
            page("bigint", 1, stats={**STATS, "nodes": 1.0}),
            page("bigint", 1, stats={**STATS, "progressPercentage": float("nan")}),
            page("bigint", 1, warnings=None),
        ):
            with self.subTest(bad):
                self.assertRaises(strict_decoder.Refused, strict_decoder.check, bad)
