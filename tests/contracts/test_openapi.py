"""The check itself bites: on a small document of our own."""

import jsonschema
import pytest

from clinicrefund.testing import SandboxReply, SandboxRequest

from .openapi import FORM, OpenAPI

DOCUMENT = {
    "paths": {
        "/refunds": {
            "get": {
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer"}},
                    {
                        "name": "types",
                        "in": "query",
                        "schema": {"type": "array", "items": {"enum": ["a", "b"]}},
                    },
                    {"name": "shop", "in": "query", "required": True, "schema": {"type": "string"}},
                ],
                "responses": {"200": {}},
            },
            "post": {
                "requestBody": {
                    "required": True,
                    "content": {
                        FORM: {
                            "schema": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "amount": {"type": "integer"},
                                    "marks": {"type": "object", "additionalProperties": {"type": "string"}},
                                },
                            }
                        }
                    },
                },
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/refund"}}}
                    }
                },
            },
        },
        "/refunds/{id}": {"get": {"responses": {"200": {}}}},
        "/refunds/search": {"get": {"responses": {"201": {}}}},
    },
    "components": {
        "schemas": {
            "refund": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "note": {"type": "string", "nullable": True}},
            }
        }
    },
}
FORM_HEADER = {"content-type": FORM + "; charset=utf-8"}


def posted(body: bytes, reply: SandboxReply) -> None:
    request = SandboxRequest(headers=FORM_HEADER, body=body)
    OpenAPI(DOCUMENT, base="/v1").check(("POST", "/v1/refunds", request, reply))


def asked(query: str, reply: SandboxReply | None = None) -> None:
    reply = reply or SandboxReply(json={})
    OpenAPI(DOCUMENT).check(("GET", "/refunds", SandboxRequest(raw_query=query), reply))


def test_what_stands_in_the_document_passes() -> None:
    posted(b"amount=5&marks[step]=s-1", SandboxReply(json={"id": "re_1", "note": None}))
    posted(b"amount=5", SandboxReply(status=409, json={"anything": 1}))
    asked("shop=s&limit=3&types[]=a&types[]=b")
    OpenAPI(DOCUMENT).check(("GET", "/refunds/search", SandboxRequest(), SandboxReply(status=201)))


@pytest.mark.parametrize("body", [b"amount=five", b"amount=5&sum=5", b"marks=x", b""])
def test_a_body_that_does_not_fit_is_found(body: bytes) -> None:
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        posted(body, SandboxReply(json={"id": "re_1"}))


@pytest.mark.parametrize("query", ["", "shop=s&limit=x", "shop=s&types[]=c", "shop=s&page=2"])
def test_a_query_that_does_not_fit_is_found(query: str) -> None:
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        asked(query)


@pytest.mark.parametrize(
    "reply", [SandboxReply(json={"id": 1}), SandboxReply(json={}), SandboxReply(status=201, json={"id": "1"})]
)
def test_a_reply_that_does_not_fit_is_found(reply: SandboxReply) -> None:
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        posted(b"amount=5", reply)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/refunds"), ("GET", "/charges"), ("GET", "/refunds/1/2")]
)
def test_an_operation_that_is_not_there_is_found(method: str, path: str) -> None:
    with pytest.raises(AssertionError):
        OpenAPI(DOCUMENT).check((method, path, SandboxRequest(), SandboxReply()))
