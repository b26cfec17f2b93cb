"""The Protocols: what the library acts on, and what the host supplies or the world tells us.

A class fits by its shape and never subclasses anything here. A write answers with an `Outcome`; any exception of a
write other than `Unavailable`, `RateLimited` and `CredentialsRefused` counts as `Unknown`, so an adapter that simply
lets its client's errors through is safe. Amounts are `Money`; moments are aware.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import attrs

from clinicrefund.capabilities import (
    FOREVER,
    Capabilities,
    EHRCapabilities,
    GatewayCapabilities,
    LedgerCapabilities,
    Lookup,
)
from clinicrefund.case.status import Moment
from clinicrefund.checks import aware
from clinicrefund.model import Appointment, Booking, Channel
from clinicrefund.orders import (
    AppointmentUpdate,
    BillingNote,
    CaseRecord,
    LedgerEntry,
    Message,
    PaymentState,
    RefundOrder,
)
from clinicrefund.outcomes import Outcome
from clinicrefund.secret import Secret
from clinicrefund.triggers import Clue, Trigger

__all__ = [
    "EHR",
    "FOREVER",
    "Adapter",
    "Append",
    "Bookings",
    "Capabilities",
    "Clock",
    "EHRCapabilities",
    "Feed",
    "GatewayCapabilities",
    "Journal",
    "Ledger",
    "LedgerCapabilities",
    "Logger",
    "Lookup",
    "Notifier",
    "Page",
    "PaymentGateway",
    "Platform",
    "Received",
    "Record",
    "TokenStore",
    "Tokens",
    "WebhookReply",
    "WebhookRequest",
    "WebhookSource",
]

_T = TypeVar("_T")

# ---- what we act on --------------------------------------------------------------------------------------------


class Platform(Protocol):
    """One vendor, by the one name it has everywhere: ``"stripe"``."""

    @property
    def platform(self) -> str: ...


class Adapter(Platform, Protocol):
    """A platform that we write to.

    Two optional attributes are read where present. ``live``: False for a sandbox or test account (without it the
    adapter counts as live). ``session``: the `clinicrefund.http.BoundSession` it sends through; then each write is
    journaled, with the digest of its bytes, right before its first byte leaves; any other adapter's write is journaled
    before its method is called.
    """

    @property
    def capabilities(self) -> Capabilities: ...


class PaymentGateway(Adapter, Protocol):
    """Sends money back to the payment it came from. It never decides how much."""

    @property
    def capabilities(self) -> GatewayCapabilities: ...

    async def get_payment(self, reference: str, /) -> PaymentState:
        """The payment as the gateway shows it now, named canonically.

        Raises `PlatformError`; `InputRefused` where the gateway knows no such payment.
        """
        ...

    async def refund(self, order: RefundOrder, /) -> Outcome:
        """Refund exactly ``order.amount``, under ``order.key``, storing ``order.step_id`` at the vendor.

        `Done`: the gateway reports its final success. `Pending`: it took the order. `Refused`: it did not and will
        not. "Key in use", "already refunded" and "amount too high" are `Unknown`: they may speak of our own earlier
        attempt.
        """
        ...

    async def find_refund(self, order: RefundOrder, /, *, reference: str | None) -> Outcome | None:
        """The refund that carries ``order.step_id`` (or, where known, the vendor's ``reference``), as it is now.

        Where several attempts left refunds under one step id, the one that stands counts before one that failed, and
        the newest first. None: not found; what that proves is declared in ``capabilities``. `Refused` here: found, and
        it failed for good, so the money is back at the clinic. A found refund of another amount or payment is
        `Unknown`.
        """
        ...


class Ledger(Adapter, Protocol):
    """Books money that has moved.

    Fees are booked by a ledger whose capabilities are `LedgerCapabilities` and say so; others never see one.
    """

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        """`Done`: the entry exists, under ``reference``."""
        ...

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        """The entry that carries ``entry.step_id``; None: not found."""
        ...


class EHR(Adapter, Protocol):
    """The system that holds the appointment."""

    @property
    def capabilities(self) -> EHRCapabilities: ...

    async def get_appointment(self, reference: str, /) -> Appointment:
        """The appointment as the EHR shows it now; ``appointment_id`` is the EHR's own reference."""
        ...

    async def update_appointment(self, order: AppointmentUpdate, /) -> Outcome:
        """`Done`: the EHR reads back the new status."""
        ...

    async def post_billing_note(self, note: BillingNote, /) -> Outcome:
        """`Done`: the note exists."""
        ...

    async def find_billing_note(self, note: BillingNote, /, *, reference: str | None) -> Outcome | None:
        """The note that carries ``note.step_id``; None: not found."""
        ...


class Notifier(Adapter, Protocol):
    """Tells somebody."""

    @property
    def channel(self) -> Channel: ...

    async def send(self, message: Message, /) -> Outcome:
        """`Done`: the vendor took the message. Not that it was delivered or read."""
        ...

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        """The message that carries ``message.step_id`` or its short reference; None: not found."""
        ...


class Logger(Adapter, Protocol):
    """Keeps a record of cases that staff looks at. Not a `logging.Logger`."""

    @property
    def moments(self) -> Collection[Moment]: ...

    async def log(self, record: CaseRecord, /) -> Outcome:
        """`Done`: the record exists."""
        ...

    async def find_record(self, record: CaseRecord, /, *, reference: str | None) -> Outcome | None:
        """The record that carries ``record.step_id``; None: not found."""
        ...


# ---- what the host supplies ------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Record:
    """One fact in a stream. A journal stores it as it is and reads nothing in it. ``at`` is UTC."""

    kind: str
    body: str
    at: datetime = attrs.field(validator=aware)
    digest: str


@attrs.frozen(kw_only=True)
class Append:
    """Records to add to a stream that had ``seen`` records when it was read. ``due``: when somebody must look at the
    stream next; None: never. It replaces the stream's earlier ``due``.
    """

    stream: str
    seen: int
    records: tuple[Record, ...]
    due: datetime | None = attrs.field(default=None, validator=aware)


class Journal(Protocol):
    """The append-only store of events; the only truth.

    An optional attribute ``durable`` is read where present: False for a store that does not outlive its process.
    """

    async def commit(self, appends: Sequence[Append], /) -> None:
        """All or nothing over all streams; durable when it returns.

        `JournalConflict` where a stream does not have exactly ``seen`` records. An append without records only moves
        ``due``, under the same condition.
        """
        ...

    async def read(self, stream: str, /) -> Sequence[Record]:
        """All records of the stream in order; empty where there is none."""
        ...

    async def due(self, before: datetime, /, *, limit: int, hold: timedelta | None = None) -> Sequence[str]:
        """The streams due before that moment, the longest waiting first, at most ``limit``.

        With ``hold``, what is returned becomes due at ``before + hold`` in the same transaction, so that no other
        worker is given it meanwhile.
        """
        ...


class Bookings(Protocol):
    """The host's own bookings."""

    async def find(self, clinic_id: str, clue: Clue, /) -> Sequence[Booking]:
        """Every booking that the clue fits, as it is now; empty where none does. Never a guess: two are returned as
        two, and a person chooses.
        """
        ...


class Clock(Protocol):
    """Time. Tests and simulations run on a virtual one."""

    def now(self) -> datetime: ...

    async def sleep(self, seconds: float, /) -> None: ...


@attrs.frozen(kw_only=True)
class Tokens:
    """An OAuth2 grant's tokens as they stand. ``version`` grows by one with every save; a new grant starts at 0."""

    access: Secret
    refresh: Secret | None
    expires_at: datetime = attrs.field(validator=aware)
    version: int


class TokenStore(Protocol):
    """Where rotating tokens live, shared by all processes of the host."""

    async def load(self, account: str, /) -> Tokens | None: ...

    async def save(self, account: str, tokens: Tokens, /, *, seen: int) -> bool:
        """Compare and set: stores only where the stored version is ``seen``; False: somebody was faster."""
        ...


# ---- what the world tells us -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class WebhookRequest:
    """A delivery as it came: ``url`` as the sender called it (the public one), header names in lower case, raw body."""

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def header(self, name: str, /) -> str:
        """A header by its name, in any case; empty where it is missing."""
        return self.headers.get(name.lower(), "")

    def into(self, shape: type[_T], /) -> _T:
        """The JSON body as that attrs class. Raises `Unreadable` where it does not fit; verify the signature first."""
        from clinicrefund.http.decoding import structure  # waits until needed: cattrs is slow to import

        return structure(self.body, shape)


@attrs.frozen(kw_only=True)
class WebhookReply:
    """What the sender expects as an answer."""

    status: int = 200
    media_type: str = "text/plain"
    body: bytes = b""


@attrs.frozen(kw_only=True)
class Received:
    """What a verified delivery says. ``account`` is the vendor's account it came for, where it names one."""

    triggers: tuple[Trigger, ...] = ()
    account: str | None = None
    reply: WebhookReply = WebhookReply()


class WebhookSource(Platform, Protocol):
    """Reads one vendor's deliveries."""

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        """Verify on the raw bytes, then read. `WebhookRejected` for every way to be invalid.

        A verified delivery that cannot be read raises `clinicrefund.http.Unreadable`: it is kept and becomes a task.
        """
        ...


@attrs.frozen(kw_only=True)
class Page:
    """A page of a feed. ``cursor`` is stored together with the triggers; ``more``: fetch again at once."""

    triggers: tuple[Trigger, ...]
    cursor: str
    more: bool = False


class Feed(Platform, Protocol):
    """A source that is polled, to catch what a webhook lost."""

    @property
    def every(self) -> timedelta: ...

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        """What happened since the cursor; None: the first time. Telling a thing twice harms nobody; missing it does."""
        ...
