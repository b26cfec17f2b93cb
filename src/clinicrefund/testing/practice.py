"""PracticeStandIn: what stands behind an API that practice software has agreed on: visits, payments, refunds, keys.

A vendor's stand-in adds the paths and the shapes. There is no vendor's document to be faithful to: what is written here
is our own proposal, seen from its other side.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, TypeAlias

import attrs

from clinicrefund.errors import InputRefused
from clinicrefund.model import Booking, Reference
from clinicrefund.money import Money, total
from clinicrefund.testing.stand_in import SandboxReply, SandboxRequest, StandIn

Object: TypeAlias = dict[str, Any]

_KEYS_ARE_KEPT = timedelta(hours=24)
_GONE = ("failed", "cancelled", "declined")


@attrs.define(kw_only=True)
class Visit:
    """A visit. ``version`` grows with every change; ``fee`` is what the software added by itself."""

    reference: str
    patient: str
    starts_at: datetime
    status: str
    changed_at: datetime | None = None
    version: int = 1
    fee: Money | None = None


@attrs.define(kw_only=True)
class Paid:
    """A payment that the software took."""

    reference: str
    amount: Money
    status: str = "captured"


@attrs.define(kw_only=True)
class SentBack:
    """A refund."""

    reference: str
    payment: str
    amount: Money
    status: str
    key: str
    created_at: datetime
    failure_code: str | None = None


class RefusedByPractice(Exception):
    """A refusal, by the words of the proposal: ``already_refunded``."""

    def __init__(self, status: int, code: str, /) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@attrs.frozen(kw_only=True)
class _Kept:
    asked: tuple[str, bytes]
    reply: SandboxReply
    at: datetime


class PracticeStandIn(StandIn):
    """``refunds_pend``: new refunds wait for an approval until `settle`. ``refuses``: the code that a refund is refused
    with. ``has_keys``: whether idempotency keys are kept. ``adds_fee``: what is added to a visit that is cancelled.
    """

    booked: str
    """How a visit's status is written that stands."""

    def __init__(self) -> None:
        super().__init__()
        self.refunds_pend = False
        self.refuses: str | None = None
        self.has_keys = True
        self.adds_fee: Money | None = None
        self.visits: dict[str, Visit] = {}
        self.payments: dict[str, Paid] = {}
        self._refunds: dict[str, SentBack] = {}
        self._kept: dict[str, _Kept] = {}

    def failure(self, status: int, code: str, /) -> SandboxReply:
        """A refusal in the vendor's shape."""
        raise NotImplementedError

    def is_signed_in(self, request: SandboxRequest, /) -> bool:
        """Whether the request carries the credentials."""
        raise NotImplementedError

    # ---- what happens there without us ---------------------------------------------------------------------------

    def seed(self, booking: Booking, /) -> Sequence[Reference]:
        """Its visit, under numbers that follow from the booking's."""
        visit, patient = _number(booking.appointment.appointment_id), _number(booking.patient.patient_id)
        self.visits.setdefault(
            visit,
            Visit(
                reference=visit, patient=patient, starts_at=booking.appointment.starts_at, status=self.booked
            ),
        )
        return (
            Reference(self.platform, "appointment", visit),
            Reference(self.platform, "patient", patient),
        )

    def take_payment(self, amount: Money, /) -> str:
        """A card payment that was captured."""
        reference = f"9{len(self.payments) + 1:04d}"
        self.payments[reference] = Paid(reference=reference, amount=amount)
        return reference

    def set_by_staff(self, visit: str, status: str, /) -> None:
        """Somebody changes a visit's status in the software."""
        held = self.visits[visit]
        held.status, held.changed_at, held.version = status, self.now(), held.version + 1

    def refund_by_staff(self, payment: str, amount: Money, /) -> str:
        """Somebody refunds in the software. Returns the refund's reference."""
        return self._new_refund(payment, amount, "").reference

    def settle(self, refund: str, /, *, status: str = "succeeded", code: str | None = None) -> None:
        """A refund that waited reaches its end."""
        held = self._refunds[refund]
        held.status, held.failure_code = status, code

    # ---- what tests look at --------------------------------------------------------------------------------------

    def refunds(self) -> Sequence[SentBack]:
        """All refunds, oldest first."""
        return list(self._refunds.values())

    def refunded(self, payment_reference: str, /) -> Money:
        paid = self.payments[payment_reference].amount
        standing = [one for one in self._refunds.values() if one.status not in _GONE]
        return total([one.amount for one in standing if one.payment == payment_reference], paid.currency)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "visits": [f"{one.reference}, {one.status}" for one in self.visits.values()],
            "payments": [f"{one.reference}, {one.amount}" for one in self.payments.values()],
            "refunds": [f"{one.reference}, {one.amount}, {one.status}" for one in self._refunds.values()],
        }

    # ---- how it answers ------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        return None if self.is_signed_in(request) else self.token_expired()

    def answer(self, method: str, path: str, request: SandboxRequest, /) -> SandboxReply:
        try:
            return super().answer(method, path, request)
        except RefusedByPractice as refused:
            return self.failure(refused.status, refused.code)

    def no_such_route(self) -> SandboxReply:
        return self.failure(404, "not_found")

    def refusal(self) -> SandboxReply:
        return self.failure(403, "forbidden")

    def server_error(self) -> SandboxReply:
        return self.failure(503, "unavailable")

    def token_expired(self) -> SandboxReply:
        return self.failure(401, "unauthorized")

    # ---- what the vendors' routes are made of --------------------------------------------------------------------

    def visit(self, reference: str, /) -> Visit:
        """The visit, or a refusal."""
        if reference not in self.visits:
            raise RefusedByPractice(404, "not_found")
        return self.visits[reference]

    def payment(self, reference: str, /) -> Paid:
        """The payment, or a refusal."""
        if reference not in self.payments:
            raise RefusedByPractice(404, "not_found")
        return self.payments[reference]

    def refund(self, reference: str, /) -> SentBack:
        """The refund, or a refusal."""
        if reference not in self._refunds:
            raise RefusedByPractice(404, "not_found")
        return self._refunds[reference]

    def refunds_named(self, key: str, /) -> Sequence[SentBack]:
        """The refunds under that name which a search shows by now."""
        return [one for one in self._refunds.values() if one.key == key and self.is_visible(one.created_at)]

    def cancel(self, visit: Visit, status: str, allowed: Sequence[str], /) -> Visit:
        """Sets the status of a visit that stands."""
        if status not in allowed:
            raise RefusedByPractice(422, "invalid_request")
        if visit.status != self.booked:
            raise RefusedByPractice(409, "already_cancelled")
        self.set_by_staff(visit.reference, status)
        visit.fee = self.adds_fee
        return visit

    def send_back(self, payment: str, body: Mapping[str, Any], key_field: str, /) -> SentBack:
        """Makes the refund that a body asks for, or refuses it."""
        paid = self.payment(payment)
        try:
            amount = Money.of(Decimal(str(body["amount"])), body["currency"])
        except (InputRefused, InvalidOperation, KeyError):
            raise RefusedByPractice(422, "invalid_request") from None
        left = paid.amount - self.refunded(payment)
        if self.refuses is not None:
            raise RefusedByPractice(422, self.refuses)
        if not left:
            raise RefusedByPractice(409, "already_refunded")
        if not amount <= left:
            raise RefusedByPractice(422, "amount_too_high")
        return self._new_refund(payment, amount, str(body.get(key_field, "")))

    def once(
        self, request: SandboxRequest, work: Callable[[SandboxRequest], SandboxReply], /
    ) -> SandboxReply:
        """The work, or under a key that was used already the answer that it gave."""
        key = request.header("idempotency-key") if self.has_keys else ""
        if not key:
            return work(request)
        if len(key) > 64:
            raise RefusedByPractice(422, "invalid_request")
        asked = (self.requests[-1], request.body)
        kept = self._kept.get(key)
        if kept is not None and kept.at + _KEYS_ARE_KEPT > self.now():
            if kept.asked != asked:
                raise RefusedByPractice(409, "idempotency_conflict")
            return attrs.evolve(kept.reply, status=200)
        reply = work(request)
        self._kept[key] = _Kept(asked=asked, reply=reply, at=self.now())
        return reply

    def _new_refund(self, payment: str, amount: Money, key: str) -> SentBack:
        refund = SentBack(
            reference=f"R-{551 + len(self._refunds)}",
            payment=payment,
            amount=amount,
            status="pending" if self.refunds_pend else "succeeded",
            key=key,
            created_at=self.now(),
        )
        self._refunds[refund.reference] = refund
        return refund


def _number(name: str) -> str:
    return str(40_000 + int.from_bytes(sha256(name.encode()).digest()[:4]) % 9_999_999)
