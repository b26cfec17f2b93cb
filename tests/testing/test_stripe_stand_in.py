"""The stand-in for Stripe does what Stripe's documents say, also where our adapter never goes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from clinicrefund.money import Money
from clinicrefund.testing import Sandbox, SandboxReply, SandboxRequest
from clinicrefund.testing.stand_ins.stripe import API_KEY, StripeStandIn


@pytest.fixture
def stripe() -> StripeStandIn:
    return StripeStandIn()


@pytest.fixture
def payment(stripe: StripeStandIn) -> str:
    return stripe.take_payment(Money.of("120.00", "USD"))


def ask(
    stripe: StripeStandIn, method: str, path: str, *, query: str = "", body: str = "", key: str = ""
) -> SandboxReply:
    headers = {"authorization": f"Bearer {API_KEY}"} | ({"idempotency-key": key} if key else {})
    return stripe.answer(
        method, path, SandboxRequest(method=method, raw_query=query, headers=headers, body=body.encode())
    )


def said(reply: SandboxReply) -> Mapping[str, Any]:
    body = reply.json
    assert isinstance(body, dict)
    return body.get("error", body)


def test_without_the_key_nothing_is_answered(stripe: StripeStandIn, payment: str) -> None:
    reply = stripe.answer("GET", f"/v1/payment_intents/{payment}", SandboxRequest())
    assert (reply.status, said(reply)["type"]) == (401, "invalid_request_error")


def test_every_answer_names_the_request(stripe: StripeStandIn) -> None:
    assert ask(stripe, "GET", "/v1/refunds").headers["Request-Id"].startswith("req_")
    assert ask(stripe, "GET", "/v1/nothing").status == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("amount=1", None),
        ("charge=ch_1&payment_intent=pi_1", None),
        ("charge=ch_1&amount=0", "amount"),
        ("charge=ch_1&amount=1.5", "amount"),
        ("charge=ch_1&amount=-1", "amount"),
        ("charge=ch_1&reason=cancelled", "reason"),
        ("charge=ch_1&sum=1", "sum"),
        ("charge=ch_1&metadata[k]=" + "v" * 501, "metadata"),
        ("charge=ch_1&metadata[" + "k" * 41 + "]=v", "metadata"),
        ("charge=ch_1&" + "&".join(f"metadata[k{n}]=v" for n in range(51)), "metadata"),
    ],
)
def test_parameters_are_checked_first_and_leave_the_key_free(
    stripe: StripeStandIn, payment: str, body: str, param: str | None
) -> None:
    reply = ask(stripe, "POST", "/v1/refunds", body=body, key="k")
    assert (reply.status, said(reply).get("param")) == (400, param)
    assert ask(stripe, "POST", "/v1/refunds", body=f"payment_intent={payment}", key="k").status == 200


def test_a_refusal_after_the_work_began_stays_under_its_key(stripe: StripeStandIn, payment: str) -> None:
    stripe.low_balance = True
    body = f"payment_intent={payment}&amount=100"
    assert ask(stripe, "POST", "/v1/refunds", body=body, key="k").status == 400
    stripe.low_balance = False
    again = ask(stripe, "POST", "/v1/refunds", body=body, key="k")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (400, "true")
    assert ask(stripe, "POST", "/v1/refunds", body=body, key="k2").status == 200


def test_without_a_key_the_same_call_pays_twice(stripe: StripeStandIn, payment: str) -> None:
    for _ in range(2):
        ask(stripe, "POST", "/v1/refunds", body=f"payment_intent={payment}&amount=100")
    assert stripe.refunded(payment) == Money.of("2.00", "USD")


def test_a_key_belongs_to_one_call_and_has_at_most_255_characters(
    stripe: StripeStandIn, payment: str
) -> None:
    refund = said(ask(stripe, "POST", "/v1/refunds", body=f"payment_intent={payment}&amount=100", key="k"))
    other = ask(stripe, "POST", f"/v1/refunds/{refund['id']}", body="metadata[a]=1", key="k")
    assert (other.status, said(other)["type"]) == (400, "idempotency_error")
    assert ask(stripe, "POST", "/v1/refunds", body=f"payment_intent={payment}", key="k" * 256).status == 400


def test_without_an_amount_all_that_is_left_goes_back(stripe: StripeStandIn, payment: str) -> None:
    stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
    refund = said(ask(stripe, "POST", "/v1/refunds", body=f"payment_intent={payment}"))
    assert (refund["amount"], stripe.refunded(payment)) == (10000, Money.of("120.00", "USD"))
    assert said(ask(stripe, "GET", f"/v1/charges/{refund['charge']}"))["refunded"] is True


def test_only_a_refund_that_waits_for_the_payer_can_be_cancelled(stripe: StripeStandIn, payment: str) -> None:
    refund = stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
    assert ask(stripe, "POST", f"/v1/refunds/{refund}/cancel").status == 400
    stripe.ask_payer(refund)
    assert said(ask(stripe, "POST", f"/v1/refunds/{refund}/cancel"))["status"] == "canceled"
    assert stripe.refunded(payment) == Money.zero("USD")


def test_metadata_can_be_added_later(stripe: StripeStandIn, payment: str) -> None:
    refund = stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
    assert said(ask(stripe, "POST", f"/v1/refunds/{refund}", body="metadata[a]=1"))["metadata"] == {"a": "1"}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "starting_after=re_none", "charge=ch_none"]
)
def test_a_list_refuses_what_it_cannot_do(stripe: StripeStandIn, payment: str, query: str) -> None:
    stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
    assert ask(stripe, "GET", "/v1/refunds", query=query).status in (400, 404)


def test_a_list_shows_ten_newest_first(stripe: StripeStandIn, payment: str) -> None:
    made = [stripe.refund_in_dashboard(payment, Money.of("1.00", "USD")) for _ in range(12)]
    page = said(ask(stripe, "GET", "/v1/refunds"))
    assert [one["id"] for one in page["data"]] == made[:1:-1]
    assert page["has_more"] is True
    rest = said(ask(stripe, "GET", "/v1/refunds", query=f"starting_after={made[2]}"))
    assert [one["id"] for one in rest["data"]] == [made[1], made[0]]


def test_charges_are_listed_by_their_intent(stripe: StripeStandIn, payment: str) -> None:
    stripe.take_payment(Money.of("1.00", "USD"))
    page = said(ask(stripe, "GET", "/v1/charges", query=f"payment_intent={payment}"))
    assert [one["id"] for one in page["data"]] == [stripe.charge_of(payment)]


@pytest.mark.anyio
async def test_events_are_kept_for_thirty_days() -> None:
    stripe = StripeStandIn()
    async with Sandbox(stripe) as sandbox:
        payment = stripe.take_payment(Money.of("120.00", "USD"))
        stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
        assert len(said(ask(stripe, "GET", "/v1/events"))["data"]) == 2
        await sandbox.clock.sleep(timedelta(days=31).total_seconds())
        assert said(ask(stripe, "GET", "/v1/events"))["data"] == []


def test_the_inventory_tells_amounts_and_states(stripe: StripeStandIn, payment: str) -> None:
    refund = stripe.refund_in_dashboard(payment, Money.of("20.00", "USD"))
    dispute = stripe.dispute(payment)
    assert stripe.inventory() == {
        "payments": [f"{stripe.charge_of(payment)}, 120.00 USD, succeeded"],
        "refunds": [f"{refund}, 20.00 USD, succeeded"],
        "disputes": [f"{dispute}, 120.00 USD, needs_response"],
    }
