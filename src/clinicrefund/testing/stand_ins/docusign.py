"""A stand-in for DocuSign: envelopes made from templates, lists that lag, what recipients do, Connect, JWT grants.

Written from DocuSign's reference of the eSignature REST API, version 2.1
(https://developers.docusign.com/docs/esign-rest-api/reference/) and of Connect. Nothing is sent. It holds one account
of the developer environment, whose account server and API answer under two hosts.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    SandboxDelivery,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.docusign_shapes import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    Object,
    check_definition,
    error,
    new_envelope,
    new_event,
    oauth_error,
    page_of,
    refused,
    shown,
    sign,
    stamp,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

ACCOUNT_SERVER = "account-d.docusign.com"
INTEGRATION_KEY = "1c1c1c1c-0000-4000-8000-000000000001"
USER_ID = "5aa1b2c3-0000-4000-8000-000000000001"
ACCOUNT_ID = "7f09961a-42d4-4d0c-9a4e-111122223333"
TEMPLATE = "9b1c0000-1111-4222-8333-444455556666"
ROLE = "Patient"
LABELS = ("RefundAmount", "RefundReference")
CONNECT_KEY = "sandbox-connect-key"
WEBHOOK_URL = "https://hooks.sandbox-clinic.example/docusign"

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE = timedelta(hours=1)
_TRANSACTIONS_KEPT = timedelta(days=7)
_AN_HOUR_OF_CALLS = 3000
_UNDER_WAY = ("sent", "delivered")
_PATH = "/restapi/v2.1/accounts/{account}/envelopes"


class DocuSignStandIn(StandIn):
    """One account with one template, ``TEMPLATE``, of the role ``ROLE`` and the text tabs ``LABELS``.

    ``has_consent``: whether the user has allowed the integration to act for them. ``base_uri``: where the account
    lives, as the account server tells it. ``connect_keys``: the keys that sign. ``connect_events``: what the account
    itself reports besides what an envelope asked for. ``templates``: the labels of each role.
    """

    platform = "docusign"
    host = "demo.docusign.net"
    other_hosts = (ACCOUNT_SERVER,)
    status_fields = ("status",)

    def __init__(self) -> None:
        super().__init__()
        self.has_consent = True
        self.base_uri = f"https://{self.host}"
        self.connect_keys = [CONNECT_KEY]
        self.connect_events: set[str] = set()
        self.templates: dict[str, dict[str, tuple[str, ...]]] = {TEMPLATE: {ROLE: LABELS}}
        self.tokens = IssuedTokens(life=_LIFE)
        self._envelopes: dict[str, Object] = {}
        self._transactions: list[tuple[str, str]] = []
        self._created: dict[str, datetime] = {}
        self._subscribed: dict[str, Object] = {}

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.docusign import DocuSignConfig, DocuSignNotifier, DocuSignWebhooks

        config = DocuSignConfig(
            integration_key=INTEGRATION_KEY,
            user_id=USER_ID,
            account_id=ACCOUNT_ID,
            private_key=PRIVATE_KEY,
            template_id=TEMPLATE,
            role=ROLE,
            connect_key=CONNECT_KEY,
            webhook_url=WEBHOOK_URL,
            demo=True,
            account_url=at(f"https://{ACCOUNT_SERVER}"),
            # What the account server names is the vendor's real host, and a sandbox may be served elsewhere.
            base_url=at(f"https://{self.host}"),
        )
        return Adapters(
            notifiers={"docusign": DocuSignNotifier(config, session)},
            webhooks={"docusign": DocuSignWebhooks(config)},
            baa=True,
        )

    # ---- what happens at DocuSign without us -------------------------------------------------------------------

    def open(self, reference: str, /) -> None:
        """The recipient opens the mail and looks at the document: DocuSign calls that delivered."""
        self._move(reference, "delivered", "recipient-delivered", "envelope-delivered")

    def sign(self, reference: str, /) -> None:
        """The recipient signs, and so the envelope is complete."""
        self._move(reference, "completed", "recipient-completed", "envelope-completed")

    def decline(self, reference: str, /) -> None:
        """The recipient declines to sign."""
        self._move(reference, "declined", "recipient-declined", "envelope-declined")

    def void(self, reference: str, /) -> None:
        """Staff takes the envelope back."""
        self._move(reference, "voided", "envelope-voided")

    def bounce(self, reference: str, /) -> None:
        """The recipient's mailbox sends the mail back. The envelope stays as it is."""
        for signer in self._envelopes[reference]["recipients"]["signers"]:
            signer["status"] = "autoresponded"
        self._tell(reference, "recipient-autoresponded")

    def change_status(self, reference: str, status: str, /) -> None:
        """The envelope is in that status now, and nobody is told."""
        self._envelopes[reference]["status"] = status

    def end_tokens(self) -> None:
        """All access tokens end at once, as when the hour is over."""
        self.tokens.end()

    # ---- what tests look at --------------------------------------------------------------------------------------

    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The envelopes, as they are now, oldest first."""
        return [dict(one) for one in self._envelopes.values()]

    def mailed(self) -> Sequence[str]:
        """Who has been sent mail: recipients of a sent envelope, but for embedded ones."""
        return [
            signer["email"]
            for envelope in self._envelopes.values()
            for signer in envelope["recipients"]["signers"]
            if envelope["status"] != "created" and "clientUserId" not in signer
        ]

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {"envelopes": [f"{one['envelopeId']}, {one['status']}" for one in self._envelopes.values()]}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path == "/oauth/token" or self.tokens.accept(request.header("authorization"), self.now())
        return None if known else self.token_expired()

    @route("POST", "/oauth/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        if form.get("grant_type") != _JWT_BEARER:
            return oauth_error("unsupported_grant_type")
        if not self._is_signed(form.get("assertion", "")):
            return oauth_error("invalid_grant", "no_valid_keys_or_signatures")
        if not self.has_consent:
            return oauth_error("consent_required")
        token = self.tokens.grant(self.now()).access
        life = int(_LIFE.total_seconds())
        return SandboxReply(json={"access_token": token, "token_type": "Bearer", "expires_in": life})

    @route("GET", "/oauth/userinfo")
    def get_user(self, request: SandboxRequest) -> SandboxReply:
        account = {
            "account_id": ACCOUNT_ID,
            "is_default": True,
            "account_name": "Sandbox Clinic",
            "base_uri": self.base_uri,
        }
        user = {"sub": USER_ID, "name": "Refund Bot", "email": "bot@sandbox-clinic.example"}
        return SandboxReply(json={**user, "accounts": [account]})

    @route("POST", _PATH)
    def create_envelope(self, request: SandboxRequest) -> SandboxReply:
        body = self._body(request)
        check_definition(body, self.templates)
        envelope = new_envelope(len(self._envelopes), body, self.templates[body["templateId"]], self.now())
        reference = envelope["envelopeId"]
        self._envelopes[reference] = envelope
        self._created[reference] = self.now()
        if transaction := body.get("transactionId"):
            self._transactions.append((transaction, reference))
        if subscribed := body.get("eventNotification"):
            self._subscribed[reference] = subscribed
        if envelope["status"] == "sent":
            self._tell(reference, "envelope-sent")
        made = {
            "envelopeId": reference,
            "status": envelope["status"],
            "statusDateTime": stamp(self.now()),
            "uri": f"/envelopes/{reference}",
        }
        return self._counted(SandboxReply(status=201, json=made))

    @route("GET", _PATH)
    def list_envelopes(self, request: SandboxRequest) -> SandboxReply:
        self._check_account(request)
        query = request.query
        if not {"from_date", "envelope_ids", "transaction_ids"} & set(query):
            raise refused("INVALID_REQUEST_PARAMETER")
        if wanted := query.get("transaction_ids"):
            return self._counted(SandboxReply(json=self._by_transaction(wanted.split(","))))
        found = [one for one in self._envelopes.values() if self._fits(one, query)]
        return self._counted(SandboxReply(json=page_of(found, query)))

    @route("PUT", f"{_PATH}/status")
    def list_statuses(self, request: SandboxRequest) -> SandboxReply:
        body = self._body(request)
        if request.query.get("transaction_ids") == "request_body":
            return SandboxReply(json=self._by_transaction(body.get("transactionIds", [])))
        wanted = body.get("envelopeIds", [])
        found = [one for one in self._envelopes.values() if one["envelopeId"] in wanted]
        return SandboxReply(json=page_of(found, {}))

    @route("GET", f"{_PATH}/{{envelope}}")
    def get_envelope(self, request: SandboxRequest) -> SandboxReply:
        return self._counted(SandboxReply(json=shown(self._asked(request), request.query.get("include", ""))))

    @route("GET", f"{_PATH}/{{envelope}}/custom_fields")
    def get_custom_fields(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=self._asked(request)["customFields"])

    @route("PUT", f"{_PATH}/{{envelope}}")
    def update_envelope(self, request: SandboxRequest) -> SandboxReply:
        envelope, body = self._asked(request), self._body(request)
        if body.get("status") == "voided":
            if envelope["status"] not in _UNDER_WAY:
                raise refused("ENVELOPE_CANNOT_VOID_INVALID_STATE")
            if not body.get("voidedReason"):
                raise refused("INVALID_REQUEST_PARAMETER")
            envelope["voidedReason"] = body["voidedReason"][:200]
            self.void(envelope["envelopeId"])
        return SandboxReply(json={"envelopeId": envelope["envelopeId"]})

    def no_such_route(self) -> SandboxReply:
        return error(404, "RESOURCE_NOT_FOUND")

    def refusal(self) -> SandboxReply:
        return error(400, "INVALID_REQUEST_PARAMETER")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        reply = error(429, "HOURLY_APIINVOCATION_LIMIT_EXCEEDED")
        reset = f"{(self.now() + retry_after).timestamp():.0f}"
        return SandboxReply(status=429, json=reply.json, headers={"X-RateLimit-Reset": reset})

    def server_error(self) -> SandboxReply:
        return error(500, "UNSPECIFIED_ERROR")

    def token_expired(self) -> SandboxReply:
        return error(401, "AUTHORIZATION_INVALID_TOKEN")

    # ---- how DocuSign works inside -------------------------------------------------------------------------------

    def _check_account(self, request: SandboxRequest) -> None:
        if request.path["account"] != ACCOUNT_ID:
            raise refused("USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT")

    def _body(self, request: SandboxRequest) -> Object:
        self._check_account(request)
        try:
            body: Any = request.json()
        except ValueError:
            raise refused("INVALID_REQUEST_BODY") from None
        if not isinstance(body, dict):
            raise refused("INVALID_REQUEST_BODY")
        return cast("Object", body)

    def _asked(self, request: SandboxRequest) -> Object:
        self._check_account(request)
        envelope = self._envelopes.get(request.path["envelope"])
        if envelope is None:
            raise refused("ENVELOPE_DOES_NOT_EXIST", 404)
        return envelope

    def _counted(self, reply: SandboxReply) -> SandboxReply:
        """With the headers that say how much of the hour is left; hours begin on the clock's hour."""
        next_hour = self.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        headers = {
            "X-RateLimit-Limit": str(_AN_HOUR_OF_CALLS),
            "X-RateLimit-Remaining": str(max(_AN_HOUR_OF_CALLS - len(self.requests), 0)),
            "X-RateLimit-Reset": f"{next_hour.timestamp():.0f}",
        }
        return SandboxReply(status=reply.status, json=reply.json, headers=headers)

    def _by_transaction(self, wanted: Sequence[str]) -> Object:
        statuses = [
            {
                "transactionId": transaction,
                "envelopeId": reference,
                "status": self._envelopes[reference]["status"],
            }
            for transaction, reference in self._transactions
            if transaction in wanted
            and self.is_visible(self._created[reference])
            and self.now() - self._created[reference] <= _TRANSACTIONS_KEPT
        ]
        sizes = {"resultSetSize": str(len(statuses)), "totalSetSize": str(len(statuses))}
        return {**sizes, "envelopeTransactionStatuses": statuses}

    def _fits(self, envelope: Object, query: Mapping[str, str]) -> bool:
        created = self._created[envelope["envelopeId"]]
        references = query.get("envelope_ids", envelope["envelopeId"]).split(",")
        name, _, value = query.get("custom_field", "").partition("=")
        held = [(one["name"], one["value"]) for one in envelope["customFields"]["textCustomFields"]]
        since = datetime.fromisoformat(query["from_date"]) if "from_date" in query else created
        return (
            self.is_visible(created)
            and envelope["envelopeId"] in references
            and (not name or (name, value) in held)
            and created >= (since if since.tzinfo else since.replace(tzinfo=UTC))
        )

    def _move(self, reference: str, status: str, *events: str) -> None:
        self._envelopes[reference] |= {"status": status, "statusChangedDateTime": stamp(self.now())}
        for event in events:
            self._tell(reference, event)

    def _tell(self, reference: str, event: str) -> None:
        asked = self._subscribed.get(reference, {})
        is_signed = asked.get("includeHMAC") == "true"
        parts: Object = asked.get("eventData", {})
        if event in asked.get("events", ()):
            self._post(reference, event, parts.get("includeData", []), is_signed=is_signed)
        if event in self.connect_events:
            self._post(reference, event, ["custom_fields"], is_signed=True)

    def _post(self, reference: str, event: str, parts: Sequence[str], *, is_signed: bool) -> None:
        told = new_event(event, self._envelopes[reference], ACCOUNT_ID, USER_ID, self.now(), parts)
        keys = tuple(self.connect_keys) if is_signed else ()

        def headers(url: str, body: bytes, at: datetime) -> Mapping[str, str]:
            signatures = {
                f"X-DocuSign-Signature-{place}": sign(key, body) for place, key in enumerate(keys, start=1)
            }
            more = {"X-Authorization-Digest": "HMACSHA256"} if keys else {}
            account = {"X-DocuSign-AccountId": ACCOUNT_ID}
            return {"Content-Type": "application/json; charset=utf-8", **account, **more, **signatures}

        body = json.dumps(told, separators=(",", ":")).encode()
        self.outbox.append(SandboxDelivery(platform=self.platform, body=body, sign=headers))

    def _is_signed(self, assertion: str) -> bool:
        import jwt

        try:
            claims = jwt.decode(
                assertion,
                PUBLIC_KEY,
                algorithms=["RS256"],
                audience=ACCOUNT_SERVER,
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return False
        now = self.now().timestamp()
        known = (claims.get("iss"), claims.get("sub")) == (INTEGRATION_KEY, USER_ID)
        scopes = set(str(claims.get("scope", "")).split())
        return (
            known and {"signature", "impersonation"} <= scopes and claims["iat"] - 60 <= now < claims["exp"]
        )
