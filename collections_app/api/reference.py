"""The OpenAPI document as the docs page shows it. It reads only the keywords that the document uses."""

import json
from dataclasses import dataclass
from typing import Any

from collections_app.api.samples import Call

# The range of 64-bit integers, which the docs don't repeat for each one.
_ANY_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of an object."""

    name: str
    type: str
    note: str  # its limits and default
    description: str
    object: str = ""  # the name of the object that it contains
    is_required: bool = False


@dataclass(frozen=True)
class Object:
    """A JSON object of requests or responses."""

    name: str
    description: str
    fields: list[Field]


@dataclass(frozen=True)
class Status:
    """A possible status of a response, and the message or JSON that comes with it."""

    code: str
    description: str
    message: str = ""
    example: str = ""
    object: str = ""


@dataclass(frozen=True)
class Operation:
    """A request that scripts can send."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[tuple[str, list[Field]]]  # by where they are sent
    statuses: list[Status]
    curl: str
    python: str


class Reference:
    """The parts of a document that the page shows, with samples that call `site`."""

    def __init__(self, document: dict[str, Any], site: str) -> None:
        self._document, self._site = document, site
        self.title: str = document["info"]["title"]
        self.description: str = document["info"]["description"]

    def groups(self) -> list[tuple[str, list[Operation]]]:
        """Return the operations by their tags, in the order of the document."""
        groups: dict[str, list[Operation]] = {}
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                shown = self._operation(path, method.upper(), operation)
                groups.setdefault(operation["tags"][0], []).append(shown)
        return list(groups.items())

    def objects(self) -> list[Object]:
        """Return the objects of responses."""
        schemas = self._document["components"]["schemas"]
        return [
            Object(name, schema["description"], self._fields(schema))
            for name, schema in schemas.items()
            if "description" in schema
        ]

    def _operation(self, path: str, method: str, operation: dict[str, Any]) -> Operation:
        parameters = [self._resolve(each) for each in operation.get("parameters", [])]
        content = operation.get("requestBody", {}).get("content", {})
        body = content.get("application/json", {})
        call = Call(method, self._site, path, parameters, body.get("example"), self._is_file(operation))
        return Operation(
            id=operation["operationId"],
            method=method,
            path=path,
            summary=operation["summary"],
            description=operation["description"],
            parameters=self._parameters(parameters, body),
            statuses=self._statuses(operation),
            curl=call.as_curl(),
            python=call.as_python(),
        )

    def _parameters(
        self, parameters: list[dict[str, Any]], body: dict[str, Any]
    ) -> list[tuple[str, list[Field]]]:
        kinds = {"path": "In the path", "query": "In the query"}
        found = [
            (title, [self._field(each, each["schema"]) for each in parameters if each["in"] == kind])
            for kind, title in kinds.items()
        ]
        if body:
            found.append(("In the JSON body", self._fields(self._resolve(body["schema"]))))
        return [(title, fields) for title, fields in found if fields]

    def _fields(self, schema: dict[str, Any]) -> list[Field]:
        required = schema["required"]
        return [
            self._field({"name": name, "required": name in required}, field)
            for name, field in schema["properties"].items()
        ]

    def _field(self, named: dict[str, Any], schema: dict[str, Any]) -> Field:
        return Field(
            name=named["name"],
            type=_type(schema),
            note=_note(schema),
            description=named.get("description") or self._resolve(schema).get("description", ""),
            object=_object(schema),
            is_required=named.get("required", False),
        )

    def _statuses(self, operation: dict[str, Any]) -> list[Status]:
        found = [
            status
            for code, response in operation["responses"].items()
            for status in self._statuses_of(code, self._resolve(response))
        ]
        return sorted(found, key=lambda status: status.code)

    def _statuses_of(self, code: str, response: dict[str, Any]) -> list[Status]:
        media = response.get("content", {}).get("application/json", {})
        examples = media.get("examples", {}).values()
        if not examples:
            return [Status(code, response["description"])]
        return [_status(code, response["description"], each, media["schema"]) for each in examples]

    def _is_file(self, operation: dict[str, Any]) -> bool:
        return "application/octet-stream" in self._resolve(operation["responses"]["200"])["content"]

    def _resolve(self, part: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in part:
            return part
        _, kind, name = part["$ref"].rsplit("/", 2)
        target: dict[str, Any] = self._document["components"][kind][name]
        return target


def _status(code: str, description: str, example: dict[str, Any], schema: dict[str, Any]) -> Status:
    value = example["value"]
    if value.get("status") == 0:
        # The list always responds with 200: its real status is in the body.
        return Status(str(value["code"]), example.get("summary", description), message=value["data"])
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return Status(code, example.get("summary", description), example=text, object=_object(schema))


def _type(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return str(schema["const"])
    if schema.get("format") == "date-time":
        return "time"
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else [*kinds]
    if {"type": "null"} in schema.get("anyOf", []):
        kinds.append("null")
    return " or ".join("list" if kind == "array" else kind for kind in kinds)


def _note(schema: dict[str, Any]) -> str:
    notes = []
    if "enum" in schema:
        notes.append(" | ".join(each for each in schema["enum"] if each is not None))
    least, most = schema.get("minimum"), schema.get("maximum", _ANY_INTEGER)
    if least is not None and most < _ANY_INTEGER:
        notes.append(f"{least:,} to {most:,}")
    if "default" in schema:
        notes.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(notes)


def _object(schema: dict[str, Any]) -> str:
    """Return the name of the object that a schema refers to, or "". Error objects aren't documented."""
    parts = [schema, schema.get("items", {}), *schema.get("anyOf", [])]
    names = [part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part]
    return next((name for name in names if name != "Error"), "")
