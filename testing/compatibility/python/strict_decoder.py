"""Pages of results as strictly as the Java client takes them: what it would refuse is refused here."""

import base64
import json
import math

INTEGERS = ("tinyint", "smallint", "integer", "bigint")
FLOATS = ("real", "double")
TEXTS = (
    "varchar", "char", "json", "uuid", "ipaddress", "decimal", "number", "date",
    "interval day to second", "interval year to month",
)


class Refused(AssertionError):
    """A page that the Java client would not take."""


def check_response(response, *_args, **_kwargs):
    """Checks a page. A hook for responses of the library `requests`."""
    if response.request.method in ("POST", "GET") and "/v1/statement" in response.url and response.status_code == 200:
        check(json.loads(response.content))
    return response


def check(page):
    """Checks a page; raises `Refused` if the Java client would not take it."""
    require(isinstance(page.get("id"), str) and isinstance(page.get("infoUri"), str), "no id or infoUri")
    require(isinstance(page.get("warnings"), list), "warnings are not an array")
    for name, value in page["stats"].items():
        is_float = isinstance(value, float)
        require(value is not None, f"stats.{name} is null")
        require(not is_float or (name.endswith("Percentage") and math.isfinite(value)), f"stats.{name} is {value}")
    for name in [name for name in page if page[name] is None]:
        raise Refused(f"{name} is null instead of absent")
    if "data" not in page:
        return
    members = list(page)
    require("columns" in page and members.index("columns") < members.index("data"), "data before columns")
    require(len(page["data"]) > 0, "data is empty instead of absent")
    checks = [checker(column["typeSignature"]) for column in page["columns"]]
    for row in page["data"]:
        require(len(row) == len(checks), f"a row has {len(row)} values for {len(checks)} columns")
        for check_value, value in zip(checks, row):
            check_value(value)


def checker(signature):
    """A function that checks values of a type."""
    name, arguments = signature["rawType"], signature["arguments"]
    inner = nested(name, arguments)

    def check_value(value):
        if value is not None and not inner(value):
            raise Refused(f"{value!r} is no {name}")

    return check_value


def nested(name, arguments):
    if name == "boolean":
        return lambda value: isinstance(value, bool)
    if name in INTEGERS:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    if name in FLOATS:
        return lambda value: isinstance(value, float) or value in ("NaN", "Infinity", "-Infinity")
    if name == "array":
        element = checker(arguments[0]["value"])
        return lambda value: isinstance(value, list) and all(element(item) is None for item in value)
    if name == "map":
        element = checker(arguments[1]["value"])
        return lambda value: isinstance(value, dict) and all(element(item) is None for item in value.values())
    if name == "row":
        fields = [checker(argument["value"]["typeSignature"]) for argument in arguments]
        return lambda value: (
            isinstance(value, list)
            and len(value) == len(fields)
            and all(field(item) is None for field, item in zip(fields, value))
        )
    if name in ("varchar", "char", "decimal"):
        require(arguments and all(argument["kind"] == "LONG" for argument in arguments), f"{name} without arguments")
    if name in TEXTS or name.startswith("time"):
        return lambda value: isinstance(value, str)
    return is_base64


def is_base64(value):
    try:
        base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        return False
    return True


def require(condition, text):
    if not condition:
        raise Refused(text)
