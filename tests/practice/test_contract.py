"""A contract says an API as settings: what is sent by it, and what is read."""

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.adapters.simplepractice import CONTRACT as SIMPLEPRACTICE
from clinicrefund.adapters.theranest import CONTRACT as THERANEST
from clinicrefund.errors import ConfigurationError, OutcomeUnknown, Unavailable
from clinicrefund.http import HttpReply
from clinicrefund.money import Money
from clinicrefund.practice import Amounts, Failure, VisitWord


def reply(body: str, status: int = 200, *, effect: bool = False) -> HttpReply:
    return HttpReply(status=status, headers={}, body=body.encode(), platform="practice", effect=effect)


@attrs.frozen(kw_only=True)
class Seen:
    reference: str
    status: str = ""


# ---- what is sent ----------------------------------------------------------------------------------------------


def test_a_value_in_a_path_cannot_lead_elsewhere() -> None:
    call = SIMPLEPRACTICE.call("get_payment", {"payment": "../refunds?x=1"})
    assert call.target() == "/payments/..%2Frefunds%3Fx%3D1"
    call = THERANEST.call("get_payment", {"payment": "9&paymentId=8"})
    assert call.target() == "/GetPayment?paymentId=9%26paymentId%3D8"


def test_a_body_is_filled_to_any_depth_and_what_has_no_value_is_left_out() -> None:
    contract = SIMPLEPRACTICE.bent(
        bodies={
            "update_appointment": {
                "visit": {"state": "{status}", "client": "{patient}", "by": {"kind": "api", "rank": 2}},
                "note": "by {by}, case {case_id}",
                "notify": False,
            }
        },
        methods={"update_appointment": "PUT"},
    )
    values = {"appointment": "1", "status": "Canceled", "patient": None, "by": "client", "case_id": "c-1"}
    call = contract.call("update_appointment", values, key="k", version="7")
    assert call.json == {
        "visit": {"state": "Canceled", "by": {"kind": "api", "rank": 2}},
        "note": "by client, case c-1",
        "notify": False,
    }
    assert (call.method, call.effect, call.key, call.headers) == ("PUT", True, "k", {"If-Match": '"7"'})


def test_without_a_header_for_it_no_key_is_sent() -> None:
    contract = attrs.evolve(SIMPLEPRACTICE, key_header=None)
    assert contract.call("create_refund", {"payment": "1"}, key="k").key is None


def test_a_path_of_none_takes_an_operation_away() -> None:
    bent = SIMPLEPRACTICE.bent(paths={"find_refunds": None})
    assert (SIMPLEPRACTICE.offers("find_refunds"), bent.offers("find_refunds")) == (True, False)
    assert bent.offers("get_refund")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"paths": {"cancel": "/x"}}, "'cancel'"),
        ({"methods": {"pay": "POST"}}, "'pay'"),
        ({"paths": {"get_refund": "/r/{reference}"}}, "'reference'"),
        ({"bodies": {"create_refund": {"a": {"b": "{sum}"}}}}, "'sum'"),
    ],
)
def test_what_a_contract_cannot_say_is_refused_when_it_is_made(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        SIMPLEPRACTICE.bent(**changes)


def test_a_contract_without_the_words_that_are_set_is_refused() -> None:
    words = dict(SIMPLEPRACTICE.words)
    del words[VisitWord.NO_SHOW]
    with pytest.raises(ConfigurationError, match="'no_show'"):
        attrs.evolve(SIMPLEPRACTICE, words=words)


def test_what_is_given_replaces_and_the_rest_stays() -> None:
    bent = SIMPLEPRACTICE.bent(
        envelopes={"refund": "data"},
        fields={"refund.status": "state.name"},
        words={VisitWord.CANCELLED: "Off"},
        read_as={"gone": VisitWord.NO_SHOW},
    )
    assert bent.fields["refund.reference"] == SIMPLEPRACTICE.fields["refund.reference"]
    assert (bent.word("OFF"), bent.word("Gone"), bent.word("Show")) == (
        VisitWord.CANCELLED,
        VisitWord.NO_SHOW,
        VisitWord.BOOKED,
    )
    assert bent.word("Canceled") is None


# ---- what is read ----------------------------------------------------------------------------------------------


def test_fields_and_envelopes_are_dotted() -> None:
    bent = SIMPLEPRACTICE.bent(
        envelopes={"refund": "result.items"},
        fields={"refund.reference": "ids.own", "refund.status": "state.name"},
    )
    said = reply('{"result": {"items": {"ids": {"own": "r-1"}, "state": {"name": "succeeded"}}}}')
    assert bent.read(said, "refund", Seen) == Seen(reference="r-1", status="succeeded")


def test_a_name_may_be_a_whole_number_there() -> None:
    read = SIMPLEPRACTICE.read(reply('{"id": 44871, "status": "Show"}'), "appointment", Seen)
    assert read == Seen(reference="44871", status="Show")
    with pytest.raises(Unavailable):
        SIMPLEPRACTICE.read(reply('{"id": true}'), "appointment", Seen)


@pytest.mark.parametrize(
    "body",
    ['{"result": []}', '{"result": null}', "{}", "[]", "3", '{"result": {"id": 5.5}}', '{"result": {}}'],
)
@pytest.mark.parametrize(("effect", "error"), [(False, Unavailable), (True, OutcomeUnknown)])
def test_an_answer_of_another_shape_is_unreadable_and_is_not_shown(
    body: str,
    effect: bool,  # noqa: FBT001 - a parameter of the test
    error: type[Exception],
) -> None:
    bent = SIMPLEPRACTICE.bent(envelopes={"refund": "result"})
    with pytest.raises(error):
        bent.read(reply(body, effect=effect), "refund", Seen)


def test_a_list_tells_whether_there_is_more_of_it() -> None:
    page = '{"data": [{"id": "r-1"}, {"id": "r-2"}], "next_cursor": %s}'
    read, more = SIMPLEPRACTICE.read_list(reply(page % "null"), "refund", Seen)
    assert ([one.reference for one in read], more) == (["r-1", "r-2"], False)
    assert SIMPLEPRACTICE.read_list(reply(page % '"abc"'), "refund", Seen)[1]
    with pytest.raises(Unavailable, match="no list"):
        SIMPLEPRACTICE.read_list(reply('{"data": {}}'), "refund", Seen)


@pytest.mark.parametrize(
    ("status", "body", "code", "kind"),
    [
        (409, '{"error":{"code":"already_refunded","details":{}}}', "already_refunded", "alreadyrefunded"),
        (422, '{"errors":[{"code":"amount_too_high","detail":"d"}]}', "amount_too_high", "amounttoohigh"),
        (403, '{"error":"text"}', None, ""),
        (400, '{"message":"text"}', None, ""),
        (400, '{"message":"text","code":"InvalidRequest"}', "InvalidRequest", "invalidrequest"),
        (422, '{"error":{"code":"Sam Doe may not have it"}}', None, ""),
        (422, '{"error":{"code":7}}', None, ""),
        (422, '{"errors":[],"message":"text"}', None, ""),
    ],
)  # fmt: skip
def test_a_refusal_is_read_in_every_shape_and_its_prose_is_not(
    status: int, body: str, code: str | None, kind: str
) -> None:
    for contract in (SIMPLEPRACTICE, THERANEST):
        failure = contract.failure(reply(body, status))
        assert failure == Failure(status=status, code=code)
        assert failure is not None
        assert failure.kind == kind


@pytest.mark.parametrize("body", ["<html>not here</html>", "[]", "{}", "null", '{"errors":[]}'])
def test_a_refusal_of_somebody_else_is_unreadable(body: str) -> None:
    with pytest.raises(OutcomeUnknown):
        SIMPLEPRACTICE.failure(reply(body, 404, effect=True))


def test_a_success_that_says_it_is_none_is_a_failure_where_the_contract_has_that() -> None:
    said = reply('{"success": false, "error": {"code": "ClaimSubmitted"}}')
    assert THERANEST.failure(said) == Failure(status=200, code="ClaimSubmitted")
    assert SIMPLEPRACTICE.failure(said) is None
    assert THERANEST.failure(reply('{"success": true}')) is None


# ---- amounts ---------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    st.integers(0, 10**12),
    st.sampled_from(["USD", "JPY", "KWD", "CAD"]),
    st.sampled_from(list(Amounts)),
)
def test_an_amount_is_read_back_as_it_was_written(units: int, currency: str, amounts: Amounts) -> None:
    contract = attrs.evolve(SIMPLEPRACTICE, amounts=amounts)
    money = Money(minor_units=units, currency=currency)
    written = contract.amount(money)
    assert isinstance(written, int | Decimal | str)
    assert contract.money(reply("{}"), Decimal(written), currency.lower()) == money


@pytest.mark.parametrize(
    ("amounts", "value", "currency"),
    [
        (Amounts.DECIMAL_STRING, "120.001", "USD"),
        (Amounts.DECIMAL_STRING, "-1", "USD"),
        (Amounts.NUMBER, "NaN", "USD"),
        (Amounts.NUMBER, "1", "dollars"),
        (Amounts.MINOR_UNITS, "12000.5", "USD"),
        (Amounts.MINOR_UNITS, "-1", "USD"),
        (Amounts.MINOR_UNITS, "NaN", "USD"),
        (Amounts.MINOR_UNITS, "Infinity", "USD"),
    ],
)
def test_an_amount_that_cannot_be_meant_is_unreadable(amounts: Amounts, value: str, currency: str) -> None:
    contract = attrs.evolve(SIMPLEPRACTICE, amounts=amounts)
    with pytest.raises(Unavailable):
        contract.money(reply("{}"), Decimal(value), currency)
