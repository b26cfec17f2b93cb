"""Holds what an adapter sends and what a stand-in answers against a vendor's OpenAPI 3.0 document."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias
from unittest import mock
from urllib.parse import parse_qsl, quote

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from clinicrefund.testing import SandboxReply, SandboxRequest, StandIn

Exchange: TypeAlias = tuple[str, str, SandboxRequest, SandboxReply]
"""Method, path, request, reply."""

FORM = "application/x-www-form-urlencoded"
_NAME = re.compile(r"([^\[]+)((?:\[[^\]]*\])*)")


@contextmanager
def watch(stand_in: StandIn) -> Iterator[list[Exchange]]:
    """Everything that this stand-in is asked meanwhile, and what it answers."""
    seen: list[Exchange] = []
    real = stand_in.answer

    def answer(method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = real(method, path, request)
        seen.append((method, path, request, reply))
        return reply

    with mock.patch.object(stand_in, "answer", answer):
        yield seen


class OpenAPI:
    """One vendor's document. `check` raises AssertionError or `jsonschema.ValidationError` at the first misfit.

    ``base``: what of a path stands before the document's own. Statuses that the document does not name are passed if
    they are refusals: most documents leave them out.
    """

    def __init__(self, document: Mapping[str, Any], *, base: str = "") -> None:
        self._base = base
        self._document = _as_json_schema(document)
        contents = Resource.from_contents(self._document, default_specification=DRAFT4)
        self._registry: Registry[Any] = Registry().with_resource("urn:document", contents)

    def check(self, exchange: Exchange) -> None:
        """The request and the reply of one exchange."""
        method, path, request, reply = exchange
        pointer, operation = self._operation(method, path.removeprefix(self._base))
        self._check_query(pointer, operation, request)
        self._check_request(pointer, operation, request)
        self._check_reply(pointer, operation, reply)

    def check_as(self, schema: str, value: object) -> None:
        """A value against a schema of the document, by its name: for what is delivered and not asked for."""
        self._validate(("components", "schemas", schema), value)

    def _operation(self, method: str, path: str) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        fitting = [
            (template, item[method.lower()])
            for template, item in self._document["paths"].items()
            if method.lower() in item and _pattern(template).fullmatch(path)
        ]
        # The path with fewer parameters wins: /refunds/search over /refunds/{refund}.
        fewest = min((template.count("{") for template, _ in fitting), default=0)
        exact = [one for one in fitting if one[0].count("{") == fewest]
        assert len(exact) == 1, f"{method} {path} is {len(exact)} operations of the document"
        ((template, operation),) = exact
        return ("paths", template, method.lower()), operation

    def _check_query(
        self, pointer: tuple[str, ...], operation: Mapping[str, Any], request: SandboxRequest
    ) -> None:
        places = [(*pointer, "parameters", str(at)) for at in range(len(operation.get("parameters", [])))]
        parameters = [self._resolved(place) for place in places]
        declared = {
            one["name"]: ((*place, "schema"), one) for place, one in parameters if one.get("in") == "query"
        }
        given = _decoded(parse_qsl(request.raw_query, keep_blank_values=True), declared)
        for name, value in given.items():
            assert name in declared, f"{pointer} has no parameter {name}"
            where, parameter = declared[name]
            self._validate(where, _typed(value, parameter["schema"]))
        missing = {name for name, (_, one) in declared.items() if one.get("required")} - set(given)
        assert not missing, f"{pointer} needs {missing}"

    def _resolved(self, place: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
        """A place of the document and what stands there, or where it points to."""
        found: Any = self._document
        for part in place:
            found = found[int(part) if isinstance(found, list) else part]
        if "$ref" in found:
            return self._resolved(tuple(found["$ref"].removeprefix("#/").split("/")))
        return place, found

    def _check_request(
        self, pointer: tuple[str, ...], operation: Mapping[str, Any], request: SandboxRequest
    ) -> None:
        kind = request.header("content-type").partition(";")[0]
        content = operation.get("requestBody", {}).get("content", {})
        if not request.body:
            assert not operation.get("requestBody", {}).get("required"), f"{pointer} needs a body"
            return
        assert kind in content, f"{pointer} takes no {kind}"
        schema = content[kind]["schema"]
        body: object = _form(request.body, schema) if kind == FORM else json.loads(request.body)
        self._validate((*pointer, "requestBody", "content", kind, "schema"), body)

    def _check_reply(
        self, pointer: tuple[str, ...], operation: Mapping[str, Any], reply: SandboxReply
    ) -> None:
        said = operation["responses"]
        status = str(reply.status) if str(reply.status) in said else "default"
        if status not in said:
            assert reply.status >= 400, f"{pointer} does not answer {reply.status}"
            return
        if "application/json" in said[status].get("content", {}):
            where = (*pointer, "responses", status, "content", "application/json", "schema")
            self._validate(where, json.loads(reply.encoded()[1]))

    def _validate(self, pointer: Iterable[str], value: object) -> None:
        escaped = (quote(part.replace("~", "~0").replace("/", "~1")) for part in pointer)
        schema = {"$ref": "urn:document#/" + "/".join(escaped)}
        jsonschema.Draft4Validator(schema, registry=self._registry).validate(value)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(piece) for piece in re.split(r"\{[^}]+\}", template)))


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 says ``nullable`` where JSON schema says that null fits, too."""
    if isinstance(node, list):
        return [_as_json_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _as_json_schema(one) for name, one in node.items() if name != "nullable"}
    return {"anyOf": [kept, {"enum": [None]}]} if node.get("nullable") is True else kept


def _form(body: bytes, schema: Mapping[str, Any]) -> object:
    pairs = parse_qsl(body.decode(), keep_blank_values=True)
    return _typed(_decoded(pairs, schema.get("properties", {})), schema)


def _decoded(pairs: Iterable[tuple[str, str]], known: Mapping[str, Any]) -> dict[str, Any]:
    """``a[b]=1`` is an object in a, ``a[]=1`` an array, and so is a name that comes twice."""
    decoded: dict[str, Any] = {}
    for written, value in pairs:
        match = _NAME.fullmatch(written)
        if written in known or match is None or not match[2]:
            if written in decoded:
                held = decoded[written]
                decoded[written] = [*held, value] if isinstance(held, list) else [held, value]
            else:
                decoded[written] = value
        elif match[2] == "[]":
            decoded.setdefault(match[1], []).append(value)
        else:
            decoded.setdefault(match[1], {})[match[2][1:-1]] = value
    return decoded


def _typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """What came as text, as the type that the schema names. What cannot be one stays text, and is found."""
    if "anyOf" in schema:
        kind = {dict: "object", list: "array"}.get(type(value))
        fitting = [one for one in schema["anyOf"] if kind is None or one.get("type") == kind]
        return _typed(value, fitting[0]) if fitting else value
    match schema.get("type"):
        case "integer" if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            return int(value)
        case "boolean" if value in ("true", "false"):
            return value == "true"
        case "object" if isinstance(value, dict):
            known = schema.get("properties", {})
            return {name: _typed(one, known.get(name, {})) for name, one in value.items()}
        case "array":
            items = schema.get("items", {})
            return [_typed(one, items) for one in (value if isinstance(value, list) else [value])]
        case _:
            return value
