"""A stand-in for Sunbit: purchases, look-up, void, lowering of the amount, and signed webhooks without an id.

Written from Sunbit's public pages on transaction look-up, void, refunds, webhooks and their signatures; its sandbox.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

import attrs

from clinicrefund.money import Money
from clinicrefund.secret import Secret
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

Object: TypeAlias = dict[str, Any]

KEY = "sunbit-sandbox-key"
SECRET = "sunbit-sandbox-secret"  # noqa: S105 - made up
WEBHOOK_SECRET = "sunbit-sandbox-webhook-secret"  # noqa: S105 - made up
LOCATION = "clinic-main"
ZONE = "America/Los_Angeles"
"""Of its times, which name none: what another of Sunbit's interfaces defaults to."""

_REASONS = ("PARTIAL_REFUND", "ERROR_CORRECTION")
_ENDPOINT = "/epay/api/v1/epay"
# What the beginning of a caller's transactionId makes the sandbox's look-up answer; published for it and the checkout.
_FORCED = {
    "BAD_CREDENTIALS_": 403,
    "IP_NOT_ALLOWED_": 403,
    "TRANSACTION_NOT_ALLOWED_": 403,
    "PURCHASE_NOT_ALLOWED_": 403,
    "LOCATION_NOT_EXIST_": 404,
    "WRONG_PURCHASE_": 422,
    "DAILY_LIMIT_": 422,
    "LOW_AMOUNT_": 422,
    "INTERNAL_": 500,
}


@attrs.define(kw_only=True)
class Purchase:
    """A patient's loan, and what of it stands."""

    reference: str
    transaction: str
    location: str
    amount: Money
    net: Money
    status: str
    made_at: datetime


class SunbitStandIn(StandIn):
    """``shows_net``: the look-up's ``purchaseAmount`` is what remains, and not the original; no page says which.

    ``locations``: the clinics of the account. ``fee``: what a webhook tells as the merchant's fee.
    """

    platform = "sunbit"
    host = "api-sandbox.sunbit.com"
    other_hosts = ("api.sunbit.com",)

    def __init__(self) -> None:
        super().__init__()
        self.shows_net = False
        self.locations = {LOCATION}
        self.fee: object = 5
        self._purchases: dict[str, Purchase] = {}

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.sunbit import SANDBOX_URL, SunbitConfig, SunbitGateway, SunbitWebhooks

        config = SunbitConfig(
            key=KEY,
            secret=Secret(SECRET),
            webhook_secret=Secret(WEBHOOK_SECRET),
            location=LOCATION,
            zone=ZONE,
            base_url=at(SANDBOX_URL),
        )
        return Adapters(
            gateways={"sunbit": SunbitGateway(config, session)},
            webhooks={"sunbit": SunbitWebhooks(config)},
        )

    # ---- what happens at Sunbit without us -----------------------------------------------------------------------

    def take_payment(self, amount: Money, /, *, transaction: str | None = None) -> str:
        """A checkout that was finished. Returns its ``transactionId``, which the clinic chose."""
        number = len(self._purchases) + 1
        purchase = Purchase(
            reference=f"{39_325_000 + number}",
            transaction=transaction or f"appt-{number}-pay1",
            location=LOCATION,
            amount=amount,
            net=amount,
            status="COMPLETED",
            made_at=self.now(),
        )
        self._purchases[purchase.reference] = purchase
        return purchase.transaction

    def leave_checkout(self, payment_reference: str, /) -> None:
        """As if the patient had not finished the checkout."""
        self.purchase(payment_reference).status = "INCOMPLETE"

    def void_in_portal(self, payment_reference: str, /) -> None:
        """Somebody voids in the merchant's portal."""
        self._void(self.purchase(payment_reference))

    def refund_in_portal(self, payment_reference: str, amount: Money, /) -> None:
        """Somebody lowers the amount in the merchant's portal."""
        self._lower(self.purchase(payment_reference), amount)

    # ---- what tests look at --------------------------------------------------------------------------------------

    def purchase(self, payment_reference: str, /) -> Purchase:
        """The purchase under that ``transactionId``, alone or after its ``purchaseId``."""
        return next(
            purchase
            for purchase in self._purchases.values()
            if payment_reference in (purchase.transaction, f"{purchase.reference}/{purchase.transaction}")
        )

    def refunded(self, payment_reference: str, /) -> Money:
        purchase = self.purchase(payment_reference)
        return purchase.amount - purchase.net

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {"purchases": [f"{p.reference}, {p.net}, {p.status}" for p in self._purchases.values()]}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        keys = (request.header("sunbit-key"), request.header("sunbit-secret"))
        return None if keys == (KEY, SECRET) else _failure(403, "forbidden", "Bad credentials")

    @route("GET", _ENDPOINT)
    def look_up(self, request: SandboxRequest) -> SandboxReply:
        reference, transaction = (request.query.get(name) for name in ("purchaseId", "transactionId"))
        for prefix, status in _FORCED.items():
            if (transaction or "").startswith(prefix):
                return _failure(status, "forced", "forced by the transactionId")
        found = [
            p for p in self._purchases.values() if reference == p.reference or transaction == p.transaction
        ]
        if not found:
            return _failure(422, "unprocessable_entity", "Wrong purchase")
        purchase = found[0]
        if purchase.status == "INCOMPLETE":
            nothing = dict.fromkeys(("purchaseId", "purchaseAmount", "purchaseDate"))
            return SandboxReply(json={**nothing, "status": "INCOMPLETE"})
        shown = {
            "purchaseId": purchase.reference,
            "purchaseAmount": _number(purchase.net if self.shows_net else purchase.amount),
            "status": purchase.status,
            "purchaseDate": _local(purchase.made_at).isoformat(timespec="seconds"),
        }
        return SandboxReply(json=shown)

    @route("PUT", _ENDPOINT + "/cancel/{id}")
    def void(self, request: SandboxRequest) -> SandboxReply:
        asked = self._asked(request)
        if isinstance(asked, SandboxReply):
            return asked
        self._void(asked)
        return SandboxReply(json={"purchaseId": asked.reference, "status": asked.status})

    @route("PUT", _ENDPOINT + "/changeAmount/{id}")
    def change_amount(self, request: SandboxRequest) -> SandboxReply:
        asked, body = self._asked(request), request.json()
        if isinstance(asked, SandboxReply):
            return asked
        returned = _dollars(body.get("returnedAmount"))
        # All of it is what the void is for; more than what stands cannot go back.
        if body.get("reason") not in _REASONS or not returned or not returned < asked.amount:
            return _failure(422, "unprocessable_entity", "Wrong amount or reason")
        if asked.net < returned:
            return _failure(422, "unprocessable_entity", "Amount too high")
        self._lower(asked, returned)
        return SandboxReply(json={"purchaseId": asked.reference, "changedAmount": _number(asked.net)})

    def no_such_route(self) -> SandboxReply:
        return _failure(404, "not_found", "No message available")

    # ---- how Sunbit refuses --------------------------------------------------------------------------------------

    def refusal(self) -> SandboxReply:
        return _failure(404, "not_found", "Location does not exist")

    def server_error(self) -> SandboxReply:
        return _failure(500, "INTERNAL_ERROR", "Something went wrong")

    def token_expired(self) -> SandboxReply:
        said = {
            "code": "UNAUTHORIZED",
            "message": "Unauthorized",
            "description": "The credentials are not valid",
        }
        return SandboxReply(status=401, json=said)

    # ---- how Sunbit works inside ---------------------------------------------------------------------------------

    def _asked(self, request: SandboxRequest) -> Purchase | SandboxReply:
        body, purchase = request.json(), self._purchases.get(request.path["id"])
        if not body.get("location"):
            return self.server_error()  # the vendor documents a 500 for this mistake of the caller's
        if body["location"] not in self.locations:
            return self.refusal()
        if purchase is None or purchase.transaction != body.get("transactionId"):
            return _failure(422, "unprocessable_entity", "Wrong purchase")
        if purchase.status != "COMPLETED":
            return _failure(422, "unprocessable_entity", "Transaction not allowed")
        return purchase

    def _void(self, purchase: Purchase) -> None:
        purchase.status, purchase.net = "VOIDED", Money.zero("USD")
        self._changed("TRANSACTION_VOIDED", purchase)

    def _lower(self, purchase: Purchase, by: Money) -> None:
        purchase.net -= by
        self._changed("TRANSACTION_REFUNDED", purchase)

    def _changed(self, kind: str, purchase: Purchase) -> None:
        payload = {
            "purchaseId": purchase.reference,
            "location": purchase.location,
            "purchaseAmount": _text(purchase.amount),
            "netPurchaseAmount": _text(purchase.net),
            "purchaseDate": _wall(purchase.made_at),
            "modificationDate": _wall(self.now()),
            "referral": purchase.transaction,
            "representativeEmail": None,
            "representativeName": None,
            "merchantFeeAmount": self.fee,
        }
        self._emit(kind, payload)

    def _emit(self, kind: str, payload: Mapping[str, object]) -> None:
        body = json.dumps({"eventType": kind, "payload": payload}, separators=(",", ":")).encode()
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform, body=body, sign=lambda _, body, at: sign(WEBHOOK_SECRET, body, at)
            )
        )


def sign(secret: str, body: bytes, at: datetime) -> Mapping[str, str]:
    """The headers of a delivery that leaves at that moment."""
    seconds = int(at.timestamp())
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, "sha256").hexdigest()
    return {"Content-Type": "application/json", "Sunbit-Signature": f"t={seconds},v1={digest}"}


def _failure(status: int, code: str, message: str) -> SandboxReply:
    return SandboxReply(status=status, json={"message": message, "code": code})


def _dollars(value: object) -> Money | None:
    try:
        return Money.of(Decimal(str(value)), "USD")
    except (InvalidOperation, ValueError):
        return None


def _number(amount: Money) -> int | float:
    """As its look-up writes amounts: ``600``, ``490.5``."""
    value = amount.to_decimal()
    return int(value) if value == int(value) else float(value)


def _text(amount: Money) -> str:
    """As its webhooks write amounts: ``140.0``, ``139.55``."""
    text = f"{amount.to_decimal().normalize():f}"
    return text if "." in text else f"{text}.0"


def _local(moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


def _wall(moment: datetime) -> str:
    return _local(moment).isoformat(" ", "seconds")
