"""Every request of the adapter and every answer of the stand-in, against Google's discovery document."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import jsonschema
import pytest

from clinicrefund.case.status import CaseStatus, Moment
from clinicrefund.errors import ClinicRefundError
from clinicrefund.money import Money
from clinicrefund.orders import CaseRecord
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.google_sheets import GoogleSheetsStandIn

Exchange = tuple[str, str, SandboxRequest, SandboxReply]


class Recorded(GoogleSheetsStandIn):
    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        reply = super().answer(method, path, request)
        if path != "/token":
            self.exchanges.append((method, path, request, reply))
        return reply


class Discovery:
    """Google's format: methods by path, and schemas that are JSON schema but for ``$ref`` and the type ``any``."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._methods = list(_methods(document["resources"]))
        self._parameters = document.get("parameters", {})
        self._schemas = {name: _json_schema(schema) for name, schema in document["schemas"].items()}

    def check(self, exchange: Exchange) -> None:
        method, path, request, reply = exchange
        found = self._method(method, path)
        self._check_query(found, request)
        if "request" in found:
            self._check_body(found["request"]["$ref"], request.json())
        if reply.status == 200:
            self._check_body(found["response"]["$ref"], reply.json)

    def _method(self, method: str, path: str) -> Mapping[str, Any]:
        fitting = [
            one
            for one in self._methods
            if one["httpMethod"] == method and _pattern(one).fullmatch(path.lstrip("/"))
        ]
        assert len(fitting) == 1, f"{method} {path} is {len(fitting)} methods of the document"
        return fitting[0]

    def _check_query(self, method: Mapping[str, Any], request: SandboxRequest) -> None:
        known = self._parameters | method.get("parameters", {})
        for name in request.query:
            assert known.get(name, {}).get("location") == "query", f"{method['id']} has no parameter {name}"
            values = request.all_of(name)
            assert len(values) == 1 or known[name].get("repeated"), f"{name} is repeated"
            assert not set(values) - set(known[name].get("enum", values)), f"{name} is not one of its words"

    def _check_body(self, schema: str, body: object) -> None:
        jsonschema.validate(body, {"$ref": f"#/$defs/{schema}", "$defs": self._schemas})


def _methods(resources: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in resources.values():
        yield from resource.get("methods", {}).values()
        yield from _methods(resource.get("resources", {}))


def _pattern(method: Mapping[str, Any]) -> re.Pattern[str]:
    pieces = re.split(r"\{\w+\}", method["flatPath"])
    return re.compile("[^/:]+".join(re.escape(piece) for piece in pieces))


def _json_schema(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: {key: _json_schema(one) for key, one in value.items()}
        if name == "properties"
        else _json_schema(value)
        for name, value in schema.items()
        if name in ("type", "properties", "items", "enum", "additionalProperties", "$ref")
    }
    if "$ref" in kept:
        return {"$ref": f"#/$defs/{kept['$ref']}"}
    if kept.get("type") == "any":
        del kept["type"]
    if "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


@pytest.fixture
def discovery(vendor_document: Callable[[str], Any]) -> Discovery:
    return Discovery(vendor_document("google_sheets"))


def record(moment: Moment, minutes: int) -> CaseRecord:
    return CaseRecord(
        step_id=f"step-{moment.value}",
        key=f"key-{moment.value}",
        case_id="case-1",
        appointment_id="A-1001",
        moment=moment,
        status=CaseStatus.RUNNING,
        refund=Money.of("120.00", "USD"),
        retained=None,
        at=datetime(2026, 11, 21, 17, 0, tzinfo=UTC) + timedelta(minutes=minutes),
        patient=None,
        link=None,
        references=(),
    )


@pytest.mark.anyio
async def test_every_request_and_every_answer_is_in_googles_document(discovery: Discovery) -> None:
    google = Recorded()
    async with Sandbox(google) as sandbox:
        logger = sandbox.adapters("google_sheets").loggers["google_sheets"]
        await logger.log(record(Moment.OPENED, 0))
        google.sheets["Refunds"].insert_column(3, "Notes")
        await logger.log(record(Moment.CLOSED, 1))
        google.is_shared = False
        with pytest.raises(ClinicRefundError):
            await logger.find_record(record(Moment.CLOSED, 1), reference=None)
    assert {(method, reply.status) for method, _, _, reply in google.exchanges} == {
        ("GET", 200),
        ("PUT", 200),
        ("POST", 200),
        ("GET", 403),
    }
    for exchange in google.exchanges:
        discovery.check(exchange)


def test_what_the_stand_in_answers_to_other_readers_is_in_googles_document(discovery: Discovery) -> None:
    google = Recorded()
    token = google.give_token(
        SandboxRequest(
            body=b"grant_type=refresh_token&client_id=sandbox.apps.googleusercontent.com"
            b"&client_secret=GOCSPX-sandbox&refresh_token=1//sandbox"
        )
    )
    google.sheets["Refunds"].write(0, 0, [["Case", 1.5, True]], typed=False)
    base = "/v4/spreadsheets/1SandboxSpreadsheet_0000000000000000000000000"
    asked = SandboxRequest(headers={"authorization": f"Bearer {token.json['access_token']}"})  # type: ignore[index]
    for path, query in (("", ""), ("/values/Refunds%21A1%3AC", "majorDimension=COLUMNS")):
        google.answer("GET", base + path, attrs.evolve(asked, raw_query=query))
    assert [reply.status for _, _, _, reply in google.exchanges] == [200, 200]
    for exchange in google.exchanges:
        discovery.check(exchange)


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("PATCH", "/v4/spreadsheets/1/values/A1", "", {}),
        ("PUT", "/v4/spreadsheets/1/values/A1", "valueInputOption=PARSED", {}),
        ("PUT", "/v4/spreadsheets/1/values/A1", "valueInput=RAW", {}),
        ("PUT", "/v4/spreadsheets/1/values/A1", "valueInputOption=RAW", {"rows": []}),
        ("PUT", "/v4/spreadsheets/1/values/A1", "valueInputOption=RAW", {"values": "x"}),
    ],
)
def test_the_check_finds_what_is_not_in_the_document(
    discovery: Discovery, method: str, path: str, query: str, body: object
) -> None:
    request = SandboxRequest(method=method, raw_query=query, body=SandboxReply(json=body).encoded()[1])
    with pytest.raises((AssertionError, jsonschema.ValidationError)):
        discovery.check((method, path, request, SandboxReply(status=400)))
