"""The API's OpenAPI document, and checks of responses against it."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from collections_app.api import docs
from tests.support.responses import Response

DOCUMENT: dict[str, Any] = json.loads(docs.DOCUMENT.read_text())

_TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": float,
    "object": dict,
    "string": str,
}
_KEYWORDS = {
    *("$ref", "additionalProperties", "anyOf", "const", "default", "description", "enum", "format", "items"),
    *("maximum", "minimum", "properties", "required", "type"),
}


def resolve(part: Any) -> Any:
    """Return a part of the document, or what its $ref points to."""
    if "$ref" not in part:
        return part
    target: Any = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        target = target[name]
    return target


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the description of each operation."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def examples(response: Any) -> dict[str, Any]:
    """Return the JSON examples of a documented response, by their names."""
    found = resolve(response).get("content", {}).get("application/json", {}).get("examples", {})
    return {name: example["value"] for name, example in found.items()}


def check(schema: dict[str, Any], value: Any) -> None:
    """Fail unless a value matches a schema."""
    schema = resolve(schema)
    assert set(schema) <= _KEYWORDS, "The checks don't know this keyword."
    if "anyOf" in schema:
        assert any(_matches(each, value) for each in schema["anyOf"]), f"{value} matches none of {schema}"
        return
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    assert type(value) in [_TYPES[name] for name in types], f"{value!r} is not of type {types}"
    assert value in schema.get("enum", [value])
    assert value == schema.get("const", value)
    if value is not None and schema.get("format") == "date-time":
        assert datetime.fromisoformat(value).tzinfo
    if isinstance(value, dict):
        _check_object(schema, value)
    for item in value if isinstance(value, list) else []:
        check(schema["items"], item)


def _matches(schema: dict[str, Any], value: Any) -> bool:
    try:
        check(schema, value)
    except AssertionError:
        return False
    return True


def _check_object(schema: dict[str, Any], value: dict[str, Any]) -> None:
    assert set(schema["required"]) <= set(value)
    assert schema.get("additionalProperties", True) or set(value) <= set(schema["properties"])
    assert [name for name in schema["properties"] if name in value] == [
        name for name in value if name in schema["properties"]
    ], "The fields are in another order."
    for name in set(value) & set(schema["properties"]):
        check(schema["properties"][name], value[name])


def check_schema(name: str, value: Any) -> None:
    """Fail unless a value matches the schema with this name."""
    check(DOCUMENT["components"]["schemas"][name], value)


def api_error(response: Response) -> tuple[int, str]:
    """Return the code and the message of an error response. Fail unless it is as documented."""
    assert response.headers["Content-Type"] == "application/json"
    envelope = json.loads(response.content)
    check_schema("Error", envelope)
    assert envelope["code"] == response.status_code
    return envelope["code"], envelope["data"]
