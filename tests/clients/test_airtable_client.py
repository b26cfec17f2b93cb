"""pyairtable, the client of the field, against our stand-in for Airtable."""

import pytest

pyairtable = pytest.importorskip("pyairtable", reason="needs pyairtable: pip install -e '.[clients]'")
requests = pytest.importorskip("requests", reason="comes with pyairtable")

from pyairtable.formulas import match  # noqa: E402

from clinicrefund.adapters import airtable as adapter  # noqa: E402
from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.airtable import BASE, TABLE, TOKEN, AirtableStandIn  # noqa: E402

from .conftest import Serve  # noqa: E402


@pytest.fixture
def stand_in() -> AirtableStandIn:
    return AirtableStandIn()


@pytest.fixture
def table(stand_in: AirtableStandIn, serve: Serve) -> "pyairtable.Table":
    api = pyairtable.Api(TOKEN, endpoint_url=serve(stand_in), retry_strategy=None)
    return api.table(BASE, TABLE)


def test_a_record_is_created_read_found_and_changed(
    table: "pyairtable.Table", stand_in: AirtableStandIn
) -> None:
    made = table.create({"Case": "case-1", "Refund amount": 12.5})
    assert table.get(made["id"])["fields"] == {"Case": "case-1", "Refund amount": 12.5}
    found = table.first(formula=match({"Case": "case-1"}), fields=["Case"])
    assert found is not None
    assert (found["id"], found["fields"]) == (made["id"], {"Case": "case-1"})
    table.batch_update([{"id": made["id"], "fields": {"Status": "held"}}])
    assert stand_in.records() == [{"Case": "case-1", "Refund amount": 12.5, "Status": "held"}]


def test_an_upsert_makes_one_record_and_then_changes_it(
    table: "pyairtable.Table", stand_in: AirtableStandIn
) -> None:
    first = table.batch_upsert([{"fields": {"Case": "case-1", "Status": "held"}}], key_fields=["Case"])
    again = table.batch_upsert([{"fields": {"Case": "case-1", "Status": "closed"}}], key_fields=["Case"])
    assert (first["createdRecords"], first["updatedRecords"]) == ([first["records"][0]["id"]], [])
    assert (again["createdRecords"], again["updatedRecords"]) == ([], first["createdRecords"])
    assert [row["Status"] for row in stand_in.records()] == ["closed"]


def test_pages_are_turned_until_the_end(table: "pyairtable.Table", stand_in: AirtableStandIn) -> None:
    table.batch_create([{"Case": f"case-{number}"} for number in range(25)])
    assert len(table.all(page_size=10)) == 25
    assert len(stand_in.records()) == 25


def test_the_schema_and_ids_of_fields_are_known(table: "pyairtable.Table", stand_in: AirtableStandIn) -> None:
    schema = table.schema()
    assert [field.name for field in schema.fields] == [field.name for field in stand_in.table.fields]
    case = schema.field("Case")
    made = table.create({case.id: "case-1"}, use_field_ids=True)
    assert made["fields"] == {case.id: "case-1"}


@pytest.mark.parametrize(
    "text", ["plain", "with 'quotes'", 'with "both\'"', "back\\slash", "back\\'", "{Case}"]
)
def test_its_formulas_and_ours_find_the_same_record(
    table: "pyairtable.Table", stand_in: AirtableStandIn, text: str
) -> None:
    wanted = stand_in.add(Case=text)
    stand_in.add(Case="another")
    for formula in (match({"Case": text}), adapter._formula("Case", text)):
        assert [one["id"] for one in table.all(formula=formula)] == [wanted]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"Nothing": "x"}, "UNKNOWN_FIELD_NAME"),
        ({"Refund amount": "much"}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Status": "made up"}, "INVALID_MULTIPLE_CHOICE_OPTIONS"),
    ],
)
def test_a_refusal_is_the_client_s_own_error(
    table: "pyairtable.Table", stand_in: AirtableStandIn, fields: dict[str, str], kind: str
) -> None:
    with pytest.raises(requests.HTTPError, match=kind) as refused:
        table.create(fields)
    assert refused.value.response.status_code == 422
    assert stand_in.records() == []


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.RATE_LIMITED, 429), (Fault.ERROR_BEFORE, 502), (Fault.TOKEN_EXPIRED, 401)]
)
def test_a_fault_is_the_client_s_own_error(
    table: "pyairtable.Table", stand_in: AirtableStandIn, fault: Fault, status: int
) -> None:
    stand_in.fail(fault)
    with pytest.raises(requests.HTTPError) as failed:
        table.all()
    assert failed.value.response.status_code == status


def test_a_client_that_hurries_locks_the_base(table: "pyairtable.Table", stand_in: AirtableStandIn) -> None:
    stand_in.is_paced = True
    for _ in range(5):
        table.all()
    with pytest.raises(requests.HTTPError, match="RATE_LIMIT_REACHED"):
        table.all()
