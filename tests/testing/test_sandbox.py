import subprocess
import sys
from datetime import timedelta

import anyio
import httpx
import pytest

from clinicrefund.errors import InputRefused
from clinicrefund.model import Patient, Reference
from clinicrefund.money import Money
from clinicrefund.testing import Fault, Sandbox, VirtualClock
from clinicrefund.triggers import ByAppointment

from .acme import URL, AcmeStandIn

pytestmark = pytest.mark.anyio


async def ask(sandbox: Sandbox, method: str, url: str, **more: object) -> httpx.Response:
    request = httpx.Request(method, url, **more)  # type: ignore[arg-type]
    return await sandbox.transport.handle_async_request(request)


async def test_requests_go_to_the_stand_in_of_their_host() -> None:
    sandbox = Sandbox(AcmeStandIn())
    reply = await ask(
        sandbox,
        "GET",
        URL + "/echo/a%2Fb%20c/all?types[]=x&types[]=y&empty=",
        headers={"x-token": "t"},
    )
    assert reply.status_code == 203
    assert reply.headers["x-token"] == "t"
    assert reply.json() == {"segment": "a/b c", "query": {"types[]": "y", "empty": ""}, "types": ["x", "y"]}
    assert sandbox.state("acme").requests == ["GET /echo/a%2Fb%20c/all"]


async def test_every_host_of_a_vendor_is_answered_and_no_other() -> None:
    sandbox = Sandbox(AcmeStandIn())
    assert (await ask(sandbox, "GET", "https://login.acme.example/nothing")).status_code == 404
    with pytest.raises(httpx.ConnectError):
        await ask(sandbox, "GET", "https://api.stripe.com/v1/refunds")


async def test_a_booking_is_paid_told_to_every_platform_and_found() -> None:
    sandbox = Sandbox(AcmeStandIn())
    booking = sandbox.add_booking("A-1", paid="120.00", currency="USD")
    assert booking.paid == Money.of("120.00", "USD")
    assert booking.references == (Reference("acme", "visit", "v_1"),)
    assert booking.appointment.starts_at == sandbox.clock.now() + timedelta(days=3)
    assert list(await sandbox.bookings.find("", ByAppointment("A-1"))) == [booking]
    (payment,) = booking.payments
    async with sandbox:
        state = await sandbox.clinic().gateways[payment.gateway].get_payment(payment.reference)
    assert state.captured == payment.amount


async def test_several_amounts_are_several_payments() -> None:
    sandbox = Sandbox(AcmeStandIn())
    patient = Patient(patient_id="P-7")
    booking = sandbox.add_booking(
        "A-1", paid=("20.00", "100.00"), currency="USD", patient=patient, clinic_id="c"
    )
    assert [str(payment.amount) for payment in booking.payments] == ["20.00 USD", "100.00 USD"]
    assert len({payment.reference for payment in booking.payments}) == 2
    assert (booking.patient, booking.clinic_id) == (patient, "c")


async def test_two_bookings_have_two_patients() -> None:
    sandbox = Sandbox(AcmeStandIn())
    one, other = (sandbox.add_booking(name, paid="1.00", currency="USD").patient for name in ("A-1", "A-2"))
    assert one.phone != other.phone
    assert one.email != other.email


async def test_the_clinic_is_made_of_what_the_stand_ins_bring() -> None:
    clinic = Sandbox(AcmeStandIn()).clinic()
    assert list(clinic.gateways) == ["acme"]
    assert clinic.disclosure.baa == {"acme"}
    assert not clinic.ledgers


async def test_what_is_not_there_is_refused_in_words() -> None:
    sandbox = Sandbox(AcmeStandIn())
    with pytest.raises(InputRefused, match="it has acme"):
        sandbox.state("stripe")
    with pytest.raises(InputRefused, match="no gateway other"):
        sandbox.add_booking("A-1", paid="1.00", currency="USD", gateway="other")


@pytest.mark.parametrize(
    ("fault", "status", "happened"),
    [
        (Fault.REFUSED, 400, False),
        (Fault.RATE_LIMITED, 429, False),
        (Fault.TOKEN_EXPIRED, 401, False),
        (Fault.ERROR_BEFORE, 503, False),
        (Fault.ERROR_AFTER, 503, True),
        (Fault.GARBLED, 200, True),
    ],
)
async def test_a_scripted_answer_comes_once(fault: Fault, status: int, *, happened: bool) -> None:
    sandbox = Sandbox(AcmeStandIn())
    payment = sandbox.state("acme").take_payment(Money.of("10.00", "USD"))
    sandbox.state("acme").fail(fault, operation="PUT /refunds/{id}")
    assert (await ask(sandbox, "GET", f"{URL}/payments/{payment}")).status_code == 200
    body = {"payment": payment, "amount": "10.00"}
    reply = await ask(sandbox, "PUT", f"{URL}/refunds/1", json=body)
    assert reply.status_code == status
    assert bool(sandbox.state("acme").refunded(payment)) is happened
    if fault is Fault.RATE_LIMITED:
        assert reply.headers["retry-after"] == "30"
    if fault is Fault.GARBLED:
        assert "html" in reply.text
    again = await ask(sandbox, "PUT", f"{URL}/refunds/1", json=body)
    assert (again.status_code, again.json()["status"]) == (200, "settled")


@pytest.mark.parametrize(
    ("fault", "error", "happened"),
    [
        (Fault.LOST_BEFORE, httpx.ReadError, False),
        (Fault.LOST_AFTER, httpx.ReadError, True),
        (Fault.SLOW, httpx.ReadTimeout, True),
        (Fault.UNREACHABLE, httpx.ConnectError, False),
    ],
)
async def test_a_scripted_break_comes_once(fault: Fault, error: type[Exception], *, happened: bool) -> None:
    sandbox = Sandbox(AcmeStandIn())
    payment = sandbox.state("acme").take_payment(Money.of("10.00", "USD"))
    sandbox.state("acme").fail(fault, operation="PUT")
    body = {"payment": payment, "amount": "10.00"}
    with pytest.raises(error):
        await ask(sandbox, "PUT", f"{URL}/refunds/1", json=body)
    assert bool(sandbox.state("acme").refunded(payment)) is happened
    assert (await ask(sandbox, "PUT", f"{URL}/refunds/1", json=body)).status_code == 200


async def test_a_slow_answer_takes_virtual_time_and_comes_where_the_caller_waits_long_enough() -> None:
    sandbox = Sandbox(AcmeStandIn())
    before = sandbox.clock.now()
    sandbox.state("acme").fail(Fault.SLOW, delay=timedelta(seconds=20), times=2)
    request = httpx.Request("GET", URL + "/nothing", extensions={"timeout": {"read": 60.0}})
    with anyio.fail_after(5):
        assert (await sandbox.transport.handle_async_request(request)).status_code == 404
    assert sandbox.clock.now() - before == timedelta(seconds=20)
    request = httpx.Request("GET", URL + "/nothing", extensions={"timeout": {"read": 5.0}})
    with pytest.raises(httpx.ReadTimeout):
        await sandbox.transport.handle_async_request(request)
    assert sandbox.clock.now() - before == timedelta(seconds=25)


async def test_faults_wait_for_their_turn_and_are_taken_in_order() -> None:
    sandbox = Sandbox(AcmeStandIn())
    state = sandbox.state("acme")
    state.fail(Fault.ERROR_BEFORE, after=1, times=2)
    state.fail(Fault.UNREACHABLE)
    with pytest.raises(httpx.ConnectError):
        await ask(sandbox, "GET", URL + "/nothing")
    statuses = [(await ask(sandbox, "GET", URL + "/nothing")).status_code for _ in range(4)]
    assert statuses == [503, 503, 404, 404]
    with pytest.raises(InputRefused, match="times"):
        state.fail(Fault.REFUSED, times=0)


async def test_what_was_written_is_hidden_until_it_is_visible() -> None:
    clock = VirtualClock()
    state = Sandbox(AcmeStandIn(), clock=clock).state("acme")
    state.visible_after = timedelta(seconds=60)
    written = clock.now()
    assert not state.is_visible(written)
    clock.advance(timedelta(seconds=60))
    assert state.is_visible(written)


def test_importing_the_kit_loads_no_http_stack() -> None:
    loaded = "import sys, clinicrefund.testing as t; print([m for m in ('httpx', 'h11', 'cattrs') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
