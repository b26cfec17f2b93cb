"""Typeform: a form by which patients ask to cancel, by its webhook and by a feed over its responses.

Written for the API as of November 2026 (https://www.typeform.com/developers): webhooks, their signature and payload;
create or update a webhook; retrieve responses.

Whoever sends a form off is anybody: an address in an answer, and a hidden field, which stands in the form's address,
are claims. They may ask, and never choose a booking, unless the clinic signed the link
(`TypeformConfig.hidden_fields`).

Not covered: unfinished responses, the form's title and endings, payments taken by a form (they name no charge), files,
deleting responses.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Self
from urllib.parse import quote

import attrs

from clinicrefund.adapters.typeform_form import TypeformForm, TypeformResponse, link_signature, requests
from clinicrefund.environment import listed
from clinicrefund.errors import (
    ConfigurationError,
    CredentialsRefused,
    InputRefused,
    Unavailable,
    WebhookRejected,
)
from clinicrefund.http import (
    Auth,
    Bearer,
    HttpCall,
    HttpReply,
    Limits,
    RefreshToken,
    Session,
    Unreadable,
    structure_value,
)
from clinicrefund.http.signatures import verify_hmac
from clinicrefund.ports import Page, Received, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret

BASE_URL: Final = "https://api.typeform.com"
TAG: Final = "clinicrefund"

_PAGE = 1000
_OVERLAP = timedelta(hours=2)  # a response may be missing from lists for half an hour
_FIRST = timedelta(days=1)


@attrs.frozen(kw_only=True)
class TypeformConfig:
    """``webhook_secret``: a long random text of your own; ``previous_secret`` while it is being replaced.

    ``token``: a personal access token with the scope ``responses:read``; or, of an OAuth app, ``client_id``,
    ``client_secret`` and ``refresh_token`` (scope ``offline``), which rotates: the session then needs a lasting
    `clinicrefund.TokenStore`. With ``webhook_url`` also ``webhooks:read webhooks:write``: the public URL for which the
    feed sets the webhook ``tag`` of every form, and sets it again when Typeform has switched it off. ``link_key``: a
    secret of your own by which links to the form are signed. ``base_url``: another one in the EU data centre.
    ``live``: False for an account to try things out in, which only you can know.
    """

    webhook_secret: Secret = attrs.field(converter=secret)
    previous_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    forms: Sequence[TypeformForm]
    token: Secret | None = attrs.field(default=None, converter=optional_secret)
    client_id: str = ""
    client_secret: Secret = attrs.field(default=Secret(""), converter=secret)
    refresh_token: Secret | None = attrs.field(default=None, converter=optional_secret)
    link_key: Secret | None = attrs.field(default=None, converter=optional_secret)
    webhook_url: str | None = None
    tag: str = TAG
    live: bool = True
    base_url: str = BASE_URL

    def __attrs_post_init__(self) -> None:
        names = [form.form_id for form in self.forms]
        if not names or len(set(names)) < len(names):
            raise ConfigurationError("TypeformConfig.forms must name at least one form, and each one once")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """One form, from ``TYPEFORM_FORM``, ``_CANCEL``, ``_WORDS``, ``_EMAILS``, ``_PHONES``, ``_VISIT`` (lists with
        commas); ``_WEBHOOK_SECRET``, ``_PREVIOUS_SECRET``, ``_LINK_KEY``, ``_WEBHOOK_URL``, ``_BASE_URL``; ``_TOKEN``,
        or ``_CLIENT_ID``, ``_CLIENT_SECRET``, ``_REFRESH_TOKEN``; ``_LIVE=0`` for trials. None without the first.
        """
        given = {name.removeprefix("TYPEFORM_").lower(): value for name, value in env.items() if value}
        if not env.get("TYPEFORM_FORM"):
            return None
        words, emails, phones = (listed(given.get(name, "")) for name in ("words", "emails", "phones"))
        form = TypeformForm(
            form_id=given["form"],
            cancel=given.get("cancel"),
            words=words,
            emails=emails,
            phones=phones,
            visit=given.get("visit"),
        )
        return cls(
            webhook_secret=given.get("webhook_secret", ""),
            previous_secret=given.get("previous_secret"),
            forms=(form,),
            token=given.get("token"),
            client_id=given.get("client_id", ""),
            client_secret=given.get("client_secret", ""),
            refresh_token=given.get("refresh_token"),
            link_key=given.get("link_key"),
            webhook_url=given.get("webhook_url"),
            live=given.get("live") != "0",
            base_url=given.get("base_url", BASE_URL),
        )

    @property
    def auth(self) -> Auth:
        """How calls are signed in."""
        if self.token:
            return Bearer(self.token)
        if not self.refresh_token:
            raise ConfigurationError("TypeformConfig has neither token nor refresh_token; pass one of them")
        return RefreshToken(
            account=f"typeform:{self.client_id}",
            token_url="/oauth/token",  # noqa: S106 - an address
            client_id=self.client_id,
            client_secret=self.client_secret,
            initial=self.refresh_token,
            in_body=True,
        )

    def hidden_fields(self, appointment_id: str, /, *, until: datetime) -> Mapping[str, str]:
        """What a link to the form must carry to speak for an appointment, until then: for a letter to its patient.

        Put them behind ``#`` of the form's address, and make hidden fields of these names in the form. Whoever has the
        link can use it.
        """
        if not self.link_key:
            raise InputRefused("TypeformConfig.link_key is missing; nobody could tell our links from others'")
        expires = str(int(until.timestamp()))
        named = {"appointment_id": appointment_id, "expires": expires}
        return {**named, "sig": link_signature(self.link_key, appointment_id, expires)}


class TypeformWebhooks:
    """`WebhookSource`: forms that were sent off and ask to cancel."""

    platform = "typeform"

    def __init__(self, config: TypeformConfig, /) -> None:
        self.live = config.live
        self.secret = config.webhook_secret
        self._secrets = [one for one in (config.webhook_secret, config.previous_secret) if one is not None]
        self._config = config
        self._forms = {form.form_id: form for form in config.forms}

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        kind, _, signature = request.header("typeform-signature").partition("=")
        if kind != "sha256":
            raise WebhookRejected("the delivery has no signature")
        verify_hmac(self._secrets, request.body, [signature], encoding="base64")
        delivery = request.into(_Delivery)
        if delivery.event_type != "form_response":  # an unfinished one, which may lack anything
            return Received()
        response = structure_value(delivery.form_response, TypeformResponse)
        if response.form_id not in self._forms:
            raise Unreadable("the form is none of those in the configuration")
        triggers = requests(response, self._forms[response.form_id], self._config.link_key)
        return Received(triggers=tuple(triggers), account=response.form_id)


class TypeformFeed:
    """`Feed` over responses: what a webhook lost. With ``webhook_url`` it keeps the webhooks alive, too.

    The cursor is ours: when a complete pass began (empty in the first), when this one began, the form's place, and the
    last response of the page before.
    """

    platform = "typeform"
    every = timedelta(minutes=30)

    def __init__(self, config: TypeformConfig, session: Session, /) -> None:
        self.live = config.live
        self._config = config
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            auth=config.auth,
            # Two a second for an account; a 429 does not say when to come back.
            limits=Limits(per_second=2, burst=1, concurrent=1, pause=timedelta(seconds=2)),
        )

    async def fetch(self, cursor: str | None, /, *, now: datetime) -> Page:
        since, began, place, before = (cursor or "||0|").split("|")
        began = began or now.isoformat()
        form = self._config.forms[min(int(place), len(self._config.forms) - 1)]
        if not before and self._config.webhook_url:
            await self._keep_webhook(form, self._config.webhook_url)
        start = datetime.fromisoformat(since) - _OVERLAP if since else datetime.fromisoformat(began) - _FIRST
        items = await self._responses(form, start, before)
        triggers = tuple(one for item in items for one in requests(item, form, self._config.link_key))
        if len(items) == _PAGE:
            return Page(triggers=triggers, cursor=f"{since}|{began}|{place}|{items[-1].token}", more=True)
        if int(place) + 1 < len(self._config.forms):
            return Page(triggers=triggers, cursor=f"{since}|{began}|{int(place) + 1}|", more=True)
        # Each cursor that moves is a record in the host's journal: once an hour is enough, within the overlap.
        moves = not since or datetime.fromisoformat(began) - datetime.fromisoformat(since) >= _OVERLAP / 2
        return Page(triggers=triggers, cursor=f"{began if moves else since}||0|")

    async def _responses(
        self, form: TypeformForm, since: datetime, before: str
    ) -> "Sequence[TypeformResponse]":
        reply = self._allowed(await self.session.send(_list_responses(form, since, before)))
        if not reply.ok:
            raise reply.unreadable("the form's responses cannot be read; check TypeformForm.form_id")
        return reply.into(_Responses).items

    async def _keep_webhook(self, form: TypeformForm, url: str) -> None:
        reply = self._allowed(await self.session.send(_get_webhook(self._config, form)))
        held = reply.into(_Webhook) if reply.ok else _Webhook()
        if not held.enabled or held.url != url:
            reply = self._allowed(await self.session.send(_put_webhook(self._config, form, url)))
            if not reply.ok:  # unsaid, nobody would know that no delivery will ever come
                why = "the form's webhook was not set; check TypeformConfig.webhook_url"
                raise Unavailable(why, platform=self.platform, operation=reply.operation, status=reply.status)

    def _allowed(self, reply: HttpReply) -> HttpReply:
        if reply.status == 403:
            why = "the token lacks a scope, or its member may not see the form's workspace"
            raise CredentialsRefused(why, platform=self.platform, operation=reply.operation, status=403)
        return reply


# ---- builders --------------------------------------------------------------------------------------------------


def _list_responses(form: TypeformForm, since: datetime, before: str) -> HttpCall:
    query = {"page_size": str(_PAGE), "since": str(int(since.timestamp())), "response_type": "completed"}
    page = {"before": before} if before else {}
    return HttpCall.get(f"{_form(form)}/responses", operation="list_responses", query=query | page)


def _get_webhook(config: TypeformConfig, form: TypeformForm) -> HttpCall:
    return HttpCall.get(f"{_form(form)}/webhooks/{quote(config.tag, safe='')}", operation="get_webhook")


def _put_webhook(config: TypeformConfig, form: TypeformForm, url: str) -> HttpCall:
    wanted = {
        "url": url,
        "enabled": True,  # what is left out counts as off
        "secret": config.webhook_secret.reveal(),
        "verify_ssl": True,
        "event_types": {"form_response": True},
    }
    path = f"{_form(form)}/webhooks/{quote(config.tag, safe='')}"
    return HttpCall.put(path, operation="put_webhook", json=wanted)


def _form(form: TypeformForm) -> str:
    return f"/forms/{quote(form.form_id, safe='')}"


# ---- readers ---------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Responses:
    items: list[TypeformResponse]


@attrs.frozen(kw_only=True)
class _Delivery:
    event_type: str
    form_response: object = None


@attrs.frozen(kw_only=True)
class _Webhook:
    enabled: bool = False
    url: str = ""
