"""A stand-in for Typeform: one form, its webhooks, its responses, and signed deliveries.

Written from Typeform's pages on webhooks, the Responses API and OAuth.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

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
from clinicrefund.testing.stand_ins.typeform_shapes import (
    Object,
    Question,
    error,
    new_envelope,
    new_response,
    sign,
    wire,
)

if TYPE_CHECKING:
    from clinicrefund.http import Session

API = "https://api.typeform.com"
FORM = "lT4Z3j"
TAG = "clinicrefund"
TOKEN = "tfp_sandbox"  # noqa: S105 - made up
SECRET = "typeform-sandbox-webhook-secret"  # noqa: S105 - made up
LINK_KEY = "typeform-sandbox-link-key"
CLIENT_ID = "typeform-sandbox-client"
CLIENT_SECRET = "typeform-sandbox-client-secret"  # noqa: S105 - made up
REFRESH_TOKEN = "typeform-sandbox-consent"  # noqa: S105 - made up
HOOK = "https://hooks.sandbox-clinic.example/typeform"
QUESTIONS = (
    Question(ref="cancel", type="yes_no", title="Do you want to cancel your appointment?"),
    Question(ref="patient_email", type="email", title="Your e-mail"),
    Question(ref="phone", type="phone_number", title="Your phone"),
    Question(ref="visit_date", type="date", title="When is it?"),
    Question(
        ref="reason", type="multiple_choice", title="Why?", choices=("Illness", "Work", "Another clinic")
    ),
    Question(ref="words", type="long_text", title="Anything else?"),
)
_MOST = 1000


class TypeformStandIn(StandIn):
    """One account with the form ``FORM``. It has a webhook from the start, unless ``subscribed=False``.

    ``scopes``: what the token may do.
    """

    platform = "typeform"
    host = "api.typeform.com"

    def __init__(self, *, subscribed: bool = True) -> None:
        super().__init__()
        self.questions: Sequence[Question] = QUESTIONS
        self.scopes = {"webhooks:read", "webhooks:write", "responses:read", "responses:write", "forms:read"}
        self.tokens = IssuedTokens(first=REFRESH_TOKEN, life=timedelta(days=7))
        self._responses: list[tuple[datetime, Object]] = []
        self._hooks: dict[str, Object] = {}
        self._made = 0
        if subscribed:
            self._hooks[TAG] = self._hook(TAG, {"url": HOOK, "enabled": True, "secret": SECRET})

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.typeform import TypeformConfig, TypeformFeed, TypeformWebhooks
        from clinicrefund.adapters.typeform_form import TypeformForm

        form = TypeformForm(
            form_id=FORM,
            cancel="ref:cancel",
            emails=("ref:patient_email",),
            phones=("ref:phone",),
            visit="ref:visit_date",
            words=("ref:reason", "ref:words"),
        )
        config = TypeformConfig(
            webhook_secret=SECRET, token=TOKEN, forms=(form,), link_key=LINK_KEY, live=False, base_url=at(API)
        )
        return Adapters(
            webhooks={"typeform": TypeformWebhooks(config)}, feeds={"typeform": TypeformFeed(config, session)}
        )

    # ---- what happens at Typeform without us ---------------------------------------------------------------------

    def submit(self, *, hidden: Mapping[str, str] | None = None, **answers: Any) -> str:
        """Somebody sends the form off, with answers by the refs of its questions; returns the response's token."""
        self._made += 1
        token = f"{self._made:032x}"
        by_ref = {question.ref: question for question in self.questions}
        told = [by_ref[ref].answer(value) for ref, value in answers.items()]
        response = new_response(token, told, hidden or {}, self.now())
        self._responses.append((self.now(), response))
        event = f"01SANDBOX{self._made:017d}"
        envelope = new_envelope(event, FORM, "Cancel my appointment", self.questions, response)
        for hook in self._hooks.values():
            if hook["enabled"]:
                self._tell(json.dumps(envelope).encode(), hook.get("secret"))
        return token

    def start(self) -> None:
        """Somebody opens the form and goes away."""
        self._made += 1
        begun = new_response(f"{self._made:032x}", (), {}, self.now())
        nothing: Object = {
            "answers": None,
            "submitted_at": "0001-01-01T00:00:00Z",
            "response_type": "started",
        }
        self._responses.append((self.now(), begun | nothing))

    def switch_off(self) -> None:
        """What Typeform does with a webhook whose deliveries were answered 404 or 410. Nothing is told any more."""
        for hook in self._hooks.values():
            hook["enabled"] = False

    # ---- what tests look at --------------------------------------------------------------------------------------

    def responses(self) -> Sequence[Mapping[str, Any]]:
        """All that were sent off or begun, oldest first."""
        return [response for _, response in self._responses]

    def webhooks(self) -> Sequence[Mapping[str, Any]]:
        """The webhooks as they stand, with their secrets."""
        return list(self._hooks.values())

    def inventory(self) -> Mapping[str, Sequence[str]]:
        return {
            "responses": [response["token"] for _, response in self._responses],
            "webhooks": [f"{tag}, {'on' if hook['enabled'] else 'off'}" for tag, hook in self._hooks.items()],
        }

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        kind, _, token = request.header("authorization").partition(" ")
        known = token == TOKEN or self.tokens.accept(f"Bearer {token}", self.now())
        if path == "/oauth/token" or (kind.lower() == "bearer" and known):
            return None
        return self.token_expired() if token else error(403, "AUTHENTICATION_FAILED", "no credentials")

    @route("POST", "/oauth/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        known = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        is_refresh = form.get("grant_type") == "refresh_token"
        issued = (
            self.tokens.renew(form.get("refresh_token", ""), self.now()) if known and is_refresh else None
        )
        if issued is None:
            return SandboxReply(status=400, json={"error": "invalid_grant"})
        body = {"access_token": issued.access, "refresh_token": issued.refresh, "token_type": "bearer"}
        return SandboxReply(json={**body, "expires_in": 604800})

    @route("GET", "/forms")
    def list_forms(self, request: SandboxRequest) -> SandboxReply:
        items = [{"id": FORM, "title": "Cancel my appointment"}]
        return SandboxReply(json={"total_items": 1, "page_count": 1, "items": items})

    @route("GET", "/forms/{form}")
    def get_form(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "forms:read")) is not None:
            return refused
        fields = [question.wire() for question in self.questions]
        hidden = ["appointment_id", "expires", "sig"]
        return SandboxReply(
            json={"id": FORM, "title": "Cancel my appointment", "fields": fields, "hidden": hidden}
        )

    @route("GET", "/forms/{form}/responses")
    def list_responses(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "responses:read")) is not None:
            return refused
        query = request.query
        size = int(query.get("page_size", "25"))
        if not 1 <= size <= _MOST or ("sort" in query and {"before", "after"} & query.keys()):
            return error(400, "VALIDATION_ERROR", "the parameters do not go together")
        kinds = query.get("response_type", "completed").split(",")
        found = [one for at, one in self._responses if self._is_listed(at, one, query, kinds)]
        newest_first = found if query.get("sort", "").endswith(",asc") else found[::-1]
        tokens = [one["token"] for one in newest_first]
        if query.get("before") in tokens:
            newest_first = newest_first[tokens.index(query["before"]) + 1 :]
        pages = -(-len(newest_first) // size)
        return SandboxReply(
            json={"total_items": len(newest_first), "page_count": pages, "items": newest_first[:size]}
        )

    @route("DELETE", "/forms/{form}/responses")
    def delete_responses(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "responses:write")) is not None:
            return refused
        query = request.query
        gone = (query.get("included_response_ids") or query.get("included_tokens") or "").split(",")
        self._responses = [(at, one) for at, one in self._responses if one["token"] not in gone]
        return SandboxReply(status=200)

    @route("GET", "/forms/{form}/webhooks")
    def list_webhooks(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "webhooks:read")) is not None:
            return refused
        return SandboxReply(json={"items": list(self._hooks.values())})

    @route("GET", "/forms/{form}/webhooks/{tag}")
    def get_webhook(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "webhooks:read")) is not None:
            return refused
        found = self._hooks.get(request.path["tag"])
        return SandboxReply(json=found) if found else error(404, "WEBHOOK_NOT_FOUND", "no such webhook")

    @route("PUT", "/forms/{form}/webhooks/{tag}")
    def put_webhook(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "webhooks:write")) is not None:
            return refused
        tag, given = request.path["tag"], request.json()
        held = self._hooks.get(tag, {"enabled": False})
        if not {**held, **given}.get("url"):
            return error(400, "VALIDATION_ERROR", "a webhook needs a url")
        self._hooks[tag] = self._hook(tag, {**held, **given})
        return SandboxReply(json=self._hooks[tag])

    @route("DELETE", "/forms/{form}/webhooks/{tag}")
    def delete_webhook(self, request: SandboxRequest) -> SandboxReply:
        if (refused := self._refused(request, "webhooks:write")) is not None:
            return refused
        gone = self._hooks.pop(request.path["tag"], None)
        return SandboxReply(status=204) if gone else error(404, "WEBHOOK_NOT_FOUND", "no such webhook")

    def no_such_route(self) -> SandboxReply:
        return error(404, "NOT_FOUND", "no such resource")

    def refusal(self) -> SandboxReply:
        return error(400, "VALIDATION_ERROR", "the request is not valid")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        # No Retry-After is documented.
        return error(429, "TOO_MANY_REQUESTS", "slow down")

    def server_error(self) -> SandboxReply:
        return error(500, "INTERNAL_SERVER_ERROR", "something went wrong")

    def token_expired(self) -> SandboxReply:
        return error(401, "AUTHENTICATION_FAILED", "the token is not valid")

    # ---- how Typeform works inside -------------------------------------------------------------------------------

    def _refused(self, request: SandboxRequest, scope: str) -> SandboxReply | None:
        if scope not in self.scopes:
            return error(403, "FORBIDDEN", "the token lacks a scope")
        if request.path["form"] != FORM:
            return error(404, "FORM_NOT_FOUND", "no such form")
        return None

    def _is_listed(
        self, at: datetime, response: Object, query: Mapping[str, str], kinds: Sequence[str]
    ) -> bool:
        if response["response_type"] not in kinds or not self.is_visible(at):
            return False
        since, until = (_moment(query[name]) if query.get(name) else None for name in ("since", "until"))
        whole = at.replace(microsecond=0)
        return (since is None or since <= whole) and (until is None or whole <= until)

    def _hook(self, tag: str, given: Mapping[str, Any]) -> Object:
        now = wire(self.now())
        shown: Object = {
            "id": f"hook-{tag}",
            "form_id": FORM,
            "tag": tag,
            "verify_ssl": True,
            "event_types": {"form_response": True},
            "created_at": now,
            "updated_at": now,
        }
        return shown | dict(given)

    def _tell(self, body: bytes, secret: str | None) -> None:
        headers = {"Content-Type": "application/json"} if secret is None else sign(secret, body)
        self.outbox.append(
            SandboxDelivery(
                platform=self.platform,
                body=body,
                sign=lambda _, sent, __: headers if secret is None else sign(secret, sent),
            )
        )


def _moment(text: str) -> datetime:
    """Unix seconds, or a moment in UTC without a zone."""
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
