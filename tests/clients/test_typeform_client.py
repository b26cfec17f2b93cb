"""Typeform's own client against our stand-in. It knows forms and responses, but neither webhooks nor signatures."""

import pytest

typeform = pytest.importorskip("typeform", reason="needs Typeform's client: pip install -e '.[clients]'")

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.typeform import FORM, TOKEN, TypeformStandIn  # noqa: E402

from .conftest import Serve  # noqa: E402


@pytest.fixture
def stand_in() -> TypeformStandIn:
    return TypeformStandIn()


@pytest.fixture
def client(stand_in: TypeformStandIn, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> "typeform.Typeform":
    monkeypatch.setattr("typeform.client.API_BASE_URL", serve(stand_in))
    return typeform.Typeform(TOKEN)


def test_the_form_tells_its_questions(client: "typeform.Typeform", stand_in: TypeformStandIn) -> None:
    form = client.forms.get(FORM)
    assert [field["ref"] for field in form["fields"]] == [question.ref for question in stand_in.questions]
    assert [one["id"] for one in client.forms.list()["items"]] == [FORM]


def test_responses_are_listed_page_by_page_and_deleted(
    client: "typeform.Typeform", stand_in: TypeformStandIn
) -> None:
    tokens = [stand_in.submit(cancel=True, patient_email="sam@example.com") for _ in range(3)]
    first = client.responses.list(FORM, pageSize=2)
    second = client.responses.list(FORM, pageSize=2, before=first["items"][-1]["token"])
    listed = [one["token"] for one in (*first["items"], *second["items"])]
    assert listed == tokens[::-1]
    assert first["total_items"] == 3
    assert client.responses.delete(FORM, tokens[:2]) == "OK"
    assert [one["token"] for one in stand_in.responses()] == tokens[2:]


def test_responses_are_asked_for_by_time(client: "typeform.Typeform", stand_in: TypeformStandIn) -> None:
    stand_in.submit(cancel=True)
    assert client.responses.list(FORM, until="2020-01-01T00:00:00")["items"] == []
    assert len(client.responses.list(FORM, since="2020-01-01T00:00:00")["items"]) == 1


@pytest.mark.parametrize(
    "fault", [Fault.RATE_LIMITED, Fault.ERROR_BEFORE, Fault.TOKEN_EXPIRED, Fault.REFUSED]
)
def test_a_fault_is_the_client_s_own_error(
    client: "typeform.Typeform", stand_in: TypeformStandIn, fault: Fault
) -> None:
    stand_in.fail(fault)
    with pytest.raises(Exception, match=r"slow down|went wrong|token|not valid"):
        client.responses.list(FORM)


def test_a_form_that_is_not_there_is_the_client_s_own_error(client: "typeform.Typeform") -> None:
    with pytest.raises(Exception, match="no such form"):
        client.forms.get("other")
