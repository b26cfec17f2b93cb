import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import anyio
import attrs
import httpx
import pytest

from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    OutcomeUnknown,
    RateLimited,
)
from clinicrefund.model import Channel, Patient
from clinicrefund.money import Money
from clinicrefund.orders import RefundOrder
from clinicrefund.outcomes import Done, Refused
from clinicrefund.ports import PaymentGateway
from clinicrefund.testing import Fault, RemoteSandbox, Sandbox, SandboxDelivery
from clinicrefund.testing.sandbox.app import SandboxApplication
from clinicrefund.testing.server import Event, serve
from clinicrefund.triggers import ByAppointment

from .acme import AcmeStandIn

pytestmark = pytest.mark.anyio

ROOT = __file__.rpartition("/tests/")[0]
COMMAND = [sys.executable, "-m", "clinicrefund.testing.sandbox"]


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Sandbox, RemoteSandbox]]:
    async with (
        Sandbox(AcmeStandIn()) as sandbox,
        serve(SandboxApplication(sandbox)) as url,
        RemoteSandbox(url, AcmeStandIn()) as remote,
    ):
        yield sandbox, remote


async def order(gateway: PaymentGateway, reference: str, amount: Money) -> RefundOrder:
    return RefundOrder(
        step_id="step-1",
        key="key-1",
        case_id="case-1",
        payment_reference=reference,
        amount=amount,
        before=await gateway.get_payment(reference),
    )


async def test_a_booking_made_over_http_is_refunded_over_http() -> None:
    async with served() as (sandbox, remote):
        patient = Patient(patient_id="P-1", name="Sam Doe", opted_out={Channel.SMS})
        starts_at = sandbox.clock.now() + timedelta(days=9)
        booking = await remote.add_booking(
            "A-1", paid=("20.00", "100.00"), currency="USD", patient=patient, starts_at=starts_at
        )
        assert list(sandbox.bookings) == [booking]
        assert (booking.patient, booking.appointment.starts_at) == (patient, starts_at)
        assert await remote.bookings.find("", ByAppointment("A-1")) == [booking]
        gateway = remote.clinic().gateways["acme"]
        payment = booking.payments[1]
        outcome = await gateway.refund(await order(gateway, payment.reference, payment.amount))
        assert outcome == Done(reference="step-1")
        assert sandbox.state("acme").refunded(payment.reference) == payment.amount
        assert await remote.state("acme") == {"refunds": ["step-1, 100.00, settled"]}


async def test_its_state_can_be_read_by_people() -> None:
    async with served() as (sandbox, remote), httpx.AsyncClient(trust_env=False) as http:
        sandbox.state("acme").refunds["r1"] = {"payment": "p", "amount": "1.00", "status": "settled"}  # type: ignore[attr-defined]
        told = await http.get(remote.url + "/_sandbox/state", headers={"accept": "text/plain"})
        assert told.text == "acme\n  refunds: 1\n    r1, 1.00, settled\n"
        assert (await http.get(remote.url + "/_sandbox/state")).json() == {
            "acme": {"refunds": ["r1, 1.00, settled"]}
        }


@pytest.mark.parametrize(
    ("fault", "error", "happened"),
    [
        (Fault.RATE_LIMITED, RateLimited, False),
        (Fault.TOKEN_EXPIRED, CredentialsRefused, False),
        (Fault.ERROR_BEFORE, OutcomeUnknown, False),
        (Fault.ERROR_AFTER, OutcomeUnknown, True),
        (Fault.LOST_BEFORE, OutcomeUnknown, False),
        (Fault.LOST_AFTER, OutcomeUnknown, True),
        (Fault.GARBLED, OutcomeUnknown, True),
        (Fault.UNREACHABLE, OutcomeUnknown, False),
    ],
)
async def test_faults_are_scripted_and_played_over_http(
    fault: Fault, error: type[Exception], *, happened: bool
) -> None:
    async with served() as (sandbox, remote):
        booking = await remote.add_booking("A-1", paid="10.00", currency="USD")
        gateway = remote.clinic().gateways["acme"]
        wanted = await order(gateway, booking.payments[0].reference, booking.paid)
        await remote.fail("acme", fault, operation="PUT /refunds/{id}", delay=timedelta(seconds=0))
        with pytest.raises(error):
            await gateway.refund(wanted)
        assert bool(sandbox.state("acme").refunded(wanted.payment_reference)) is happened
        assert await gateway.refund(wanted) == Done(reference="step-1")
        await remote.fail("acme", Fault.REFUSED, operation="PUT")
        assert isinstance(await gateway.refund(wanted), Refused)


async def test_a_slow_answer_is_slow_over_http() -> None:
    async with served() as (_, remote):
        await remote.fail("acme", Fault.SLOW, delay=timedelta(seconds=0.2))
        before = anyio.current_time()
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(remote.url + "/acme/echo/1/all")).status_code == 203
        assert anyio.current_time() - before >= 0.2


async def test_what_the_desk_cannot_use_is_refused_in_words() -> None:
    async with served() as (_, remote), httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(InputRefused, match="it has acme"):
            await remote.fail("stripe", Fault.REFUSED)
        with pytest.raises(InputRefused, match="it has acme"):
            await remote.state("stripe")
        with pytest.raises(InputRefused, match="no stand-in"):
            remote.adapters("stripe")
        await remote.add_booking("A-1", paid="1.00", currency="USD")
        with pytest.raises(InputRefused, match="A-1"):
            await remote.add_booking("A-1", paid="1.00", currency="USD")
        for body in (b"{", b'{"appointment_id": "A-2"}', b'{"more": 1}'):
            answer = await http.post(remote.url + "/_sandbox/bookings", content=body)
            assert (answer.status_code, "JSON" in answer.text) == (400, True)
        assert (await http.get(remote.url + "/_sandbox/nothing")).status_code == 404
        assert "acme" in (await http.get(remote.url + "/nothing")).text


def signed(url: str, body: bytes, at: datetime) -> Mapping[str, str]:
    return {"content-type": "application/json", "x-signature": f"{url} {len(body)} {at.isoformat()}"}


@attrs.define
class Receiver:
    status: int = 200
    heard: list[tuple[bytes, str]] = attrs.field(factory=list)

    async def __call__(self, scope: Event, receive: object, send: object) -> None:
        event = await receive()  # type: ignore[operator]
        headers = dict(scope["headers"])
        self.heard.append((event["body"], headers[b"x-signature"].decode()))
        await send({"type": "http.response.start", "status": self.status, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]


def sandbox_with_deliveries() -> Sandbox:
    stand_in = AcmeStandIn()
    for number in (1, 2):
        stand_in.outbox.append(SandboxDelivery(platform="acme", body=b"%d" % number, sign=signed))
    return Sandbox(stand_in)


async def test_webhooks_are_delivered_signed_for_the_url_and_the_moment() -> None:
    sandbox, receiver = sandbox_with_deliveries(), Receiver()
    at = sandbox.clock.now() + timedelta(hours=1)
    statuses = await sandbox.deliver(
        receiver, public_url="https://clinic.example/hooks/", late=timedelta(hours=1)
    )
    assert statuses == [200, 200]
    where = f"https://clinic.example/hooks/acme 1 {at.isoformat()}"
    assert receiver.heard == [(b"1", where), (b"2", where)]
    assert not sandbox.deliveries


async def test_webhooks_come_twice_and_in_another_order_on_request() -> None:
    sandbox, receiver = sandbox_with_deliveries(), Receiver()
    assert await sandbox.deliver(receiver, duplicate=True, reorder=True) == [200] * 4
    assert [body for body, _ in receiver.heard] == [b"2", b"2", b"1", b"1"]
    assert not sandbox.deliveries


async def test_what_is_not_taken_stays_and_is_signed_anew() -> None:
    sandbox, receiver = sandbox_with_deliveries(), Receiver(status=503)
    assert await sandbox.deliver(receiver) == [503, 503]
    receiver.status = 204
    await sandbox.deliver(receiver, late=timedelta(hours=1))
    assert not sandbox.deliveries
    assert receiver.heard[0][1] != receiver.heard[2][1]


async def test_the_server_delivers_to_a_receiver_on_this_machine_only() -> None:
    receiver = Receiver()
    sandbox = sandbox_with_deliveries()
    async with (
        serve(SandboxApplication(sandbox)) as url,
        serve(receiver) as hooks,
        RemoteSandbox(url, AcmeStandIn()) as remote,
    ):
        with pytest.raises(InputRefused, match="this machine"):
            await remote.deliver("https://elsewhere.example/hooks")
        assert await remote.deliver(hooks + "/hooks") == [200, 200]
    assert receiver.heard[0][1].startswith(f"{hooks}/hooks/acme 1")


async def test_a_sandbox_runs_in_a_child_process_and_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    async with RemoteSandbox.started(AcmeStandIn()) as remote:
        booking = await remote.add_booking("A-1", paid="1.00", currency="USD", gateway="acme")
        gateway = remote.clinic().gateways["acme"]
        assert (await gateway.get_payment(booking.payments[0].reference)).captured == booking.paid
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(remote.url)


async def test_a_kept_sandbox_goes_on_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    async with RemoteSandbox.started(AcmeStandIn(), keep=True) as remote:
        await remote.add_booking("A-1", paid="1.00", currency="USD", gateway="acme")
    async with RemoteSandbox(remote.url, AcmeStandIn()) as again:
        assert len(await again.bookings.find("", ByAppointment("A-1"))) == 1
        await again.stop()
    async with httpx.AsyncClient(trust_env=False) as http:
        with anyio.fail_after(5):
            while True:
                try:
                    await http.get(remote.url)
                except httpx.TransportError:
                    break
                await anyio.sleep(0.02)


def test_a_sandbox_ends_when_its_parent_dies_hard() -> None:
    child = subprocess.Popen(
        [*COMMAND, "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().startswith("http://127.0.0.1:")
        child.stdin.close()
        assert child.wait(5) == 0
        assert child.stdout.read() == ""


def test_a_sandbox_ends_on_ctrl_c_without_a_traceback() -> None:
    before = signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a gate in the background ignores it, and so would a child
    try:
        child = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    finally:
        signal.signal(signal.SIGINT, before)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        os.kill(child.pid, signal.SIGINT)
        try:
            _, told = child.communicate(timeout=10)
        finally:
            child.kill()
        assert (child.returncode, told) == (130, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::"])  # noqa: S104 - the very mistake
def test_a_sandbox_refuses_to_listen_beyond_this_machine(host: str) -> None:
    ran = subprocess.run(
        [*COMMAND, "--host", host], capture_output=True, text=True, timeout=20, check=False, cwd=ROOT
    )
    assert ran.returncode == 2
    assert "127.0.0.1 only" in ran.stderr


def test_a_remote_sandbox_is_never_somewhere_else() -> None:
    with pytest.raises(ConfigurationError, match="real platform"):
        RemoteSandbox("https://api.stripe.com", AcmeStandIn())


async def test_a_platform_is_added_to_the_server_by_its_name() -> None:
    refused = await anyio.run_process([*COMMAND, "--stand-in", "strype"], check=False)
    assert refused.returncode == 2
    assert b"there is no stand-in of 'strype'; there are" in refused.stderr
