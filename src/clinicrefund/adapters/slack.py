"""Slack: messages to the team by incoming webhook, with buttons to approve or deny a refund.

- Incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
- Blocks and their limits: https://docs.slack.dev/reference/block-kit/blocks
- A click on a button: https://docs.slack.dev/interactivity/handling-user-interaction
- Its signature: https://docs.slack.dev/authentication/verifying-requests-from-slack

The webhook's URL is itself the secret. Slack answers ``ok`` and names no message, so a message cannot be found again.

Not covered: changing a message that was posted, answering a click through its ``response_url``, threads,
workflow webhooks.
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import attrs

from clinicrefund.case.status import Choice
from clinicrefund.errors import ConfigurationError, CredentialsRefused, WebhookRejected
from clinicrefund.http import HttpCall, HttpReply, Limits, Session, Unreadable
from clinicrefund.http.decoding import structure
from clinicrefund.http.signatures import verify_hmac, verify_timestamp
from clinicrefund.model import Channel
from clinicrefund.orders import Button, Message
from clinicrefund.outcomes import Done, Outcome, RefusalReason, Refused, Unknown
from clinicrefund.ports import Capabilities, Received, WebhookRequest
from clinicrefund.secret import Secret, optional_secret, secret
from clinicrefund.triggers import ApprovalAnswered, ByReference

HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
APPROVE, DENY = "refund_approve", "refund_deny"

_PATH = "/services/"  # of incoming webhooks; those of the workflow builder take other bodies
_ACTIONS = {Choice.APPROVE: (APPROVE, "primary"), Choice.DENY: (DENY, "danger")}
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BACK = {"es": "Volver"}
# Characters when escaped. Two sections, for all blocks together may have about 13,200, as JSON writes them.
_TEXT, _HEADER, _SECTION, _SECTIONS, _LABEL, _TITLE, _QUESTION, _ANSWER = 4000, 150, 3000, 2, 75, 100, 300, 30
_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,6})\d*)?")

_REFUSALS = {
    "invalid_payload": RefusalReason.OTHER,
    "no_text": RefusalReason.OTHER,
    "missing_text_or_fallback_or_attachments": RefusalReason.OTHER,
    "too_many_attachments": RefusalReason.OTHER,
    "user_not_found": RefusalReason.BAD_ADDRESS,
    "action_prohibited": RefusalReason.NOT_ALLOWED,
    "posting_to_general_channel_denied": RefusalReason.NOT_ALLOWED,
    "channel_is_archived": RefusalReason.NOT_ALLOWED,
    "channel_not_found": RefusalReason.NOT_FOUND,
    "no_service": RefusalReason.NOT_FOUND,
    "no_service_id": RefusalReason.NOT_FOUND,
    "no_active_hooks": RefusalReason.NOT_FOUND,
    "no_team": RefusalReason.NOT_FOUND,
    "team_disabled": RefusalReason.NOT_FOUND,
}
_BAD_BLOCKS = ("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long")


def _webhook(instance: object, attribute: object, url: Secret) -> None:
    parts = urlsplit(url.reveal())
    known = parts.hostname in (*HOSTS, "localhost", "127.0.0.1", "::1")
    if not known or _PATH not in parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            "SlackConfig.webhook_url is not the URL of an incoming webhook: it begins with "
            "https://hooks.slack.com/services/ (those of workflows, under /triggers/ and /workflows/, do not fit)"
        )


@attrs.frozen(kw_only=True)
class SlackConfig:
    """``webhook_url``: of an app's incoming webhook, one for each channel; the whole of it is secret.

    ``signing_secret``: the app's, for the buttons; ``previous_signing_secret`` while it is being replaced. ``team_id``
    and ``app_id``: the workspace and the app whose clicks count; without them, any that the secret signed.
    ``live``: False for a workspace to try things out in, which only you can know.
    """

    webhook_url: Secret = attrs.field(converter=secret, validator=_webhook)
    signing_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    previous_signing_secret: Secret | None = attrs.field(default=None, converter=optional_secret)
    team_id: str | None = None
    app_id: str | None = None
    live: bool = True

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``SLACK_WEBHOOK_URL``, ``SLACK_SIGNING_SECRET``, ``SLACK_PREVIOUS_SIGNING_SECRET``, ``SLACK_TEAM_ID``,
        ``SLACK_APP_ID``; ``SLACK_LIVE=0`` where it is not live. None without the first.
        """
        if not (url := env.get("SLACK_WEBHOOK_URL")):
            return None
        return cls(
            webhook_url=url,
            signing_secret=env.get("SLACK_SIGNING_SECRET") or None,
            previous_signing_secret=env.get("SLACK_PREVIOUS_SIGNING_SECRET") or None,
            team_id=env.get("SLACK_TEAM_ID") or None,
            app_id=env.get("SLACK_APP_ID") or None,
            live=env.get("SLACK_LIVE") != "0",
        )

    @property
    def base_url(self) -> str:
        """The part of the webhook's URL that is no secret."""
        return self.webhook_url.reveal().partition(_PATH)[0]

    @property
    def path(self) -> Secret:
        """The part that is."""
        return Secret(_PATH + self.webhook_url.reveal().partition(_PATH)[2])


class SlackNotifier:
    """`Notifier` to a team's channel. Reads no references of a booking."""

    platform = "slack"
    channel = Channel.TEAM
    # Nothing deduplicates, and nothing is found. A button's value, which holds the step, takes so many characters.
    capabilities = Capabilities(key_length=2000)

    def __init__(self, config: SlackConfig, session: Session, /) -> None:
        self.live = config.live
        self._path = config.path
        self.session = session.bind(
            self.platform, base_url=config.base_url, limits=Limits(per_second=1, concurrent=1)
        )

    async def send(self, message: Message, /) -> Outcome:
        reply = await self.session.send(_post_message(self._path, message))
        if _word(reply) in _BAD_BLOCKS:
            # One block over a limit refuses the whole message: the text alone says it, too.
            reply = await self.session.send(_post_text(self._path, message))
        return _outcome(reply)

    async def find_message(self, message: Message, /, *, reference: str | None) -> Outcome | None:
        return None


class SlackWebhooks:
    """`WebhookSource`: clicks on the buttons. Who may approve is the clinic's word (`Clinic.approvers`): Slack proves
    only that the click came from it, and anybody in the channel can click.
    """

    platform = "slack"

    def __init__(self, config: SlackConfig, /) -> None:
        self.live = config.live
        self.secret = config.signing_secret or Secret("")
        former = config.previous_signing_secret
        self._keys = [self.secret, former] if former else [self.secret]
        self._team, self._app = config.team_id, config.app_id

    async def receive(self, request: WebhookRequest, /, *, now: datetime) -> Received:
        timestamp = request.header("x-slack-request-timestamp")
        verify_timestamp(timestamp, now)
        scheme, _, signature = request.header("x-slack-signature").partition("=")
        signed = b"v0:" + timestamp.encode() + b":" + request.body
        verify_hmac(self._keys, signed, [signature] if scheme == "v0" else [])
        payload = _payload(request.body)
        if structure(payload, _Kind).type != "block_actions":
            return Received()
        click = structure(payload, _Click)
        self._verify_origin(click)
        return Received(triggers=tuple(_answers(click)), account=click.team.id if click.team else None)

    def _verify_origin(self, click: "_Click") -> None:
        """From the workspace, by one of its own people: guests of a shared channel belong to another one."""
        teams = {click.team.id if click.team else None, click.user.team_id} - {None}
        if self._team is not None and teams != {self._team}:
            raise WebhookRejected("the click comes from another workspace than SlackConfig.team_id")
        if self._app is not None and click.api_app_id != self._app:
            raise WebhookRejected("the click comes from another app than SlackConfig.app_id")


def _post_message(path: Secret, message: Message) -> HttpCall:
    body = {
        "text": _fallback(message),
        "blocks": _blocks(message),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    return HttpCall.post(path.reveal(), operation="post_message", json=body)


def _post_text(path: Secret, message: Message) -> HttpCall:
    body = {"text": _fallback(message), "unfurl_links": False, "unfurl_media": False}
    return HttpCall.post(path.reveal(), operation="post_text", json=body)


def _fallback(message: Message) -> str:
    """What notifications and screen readers show."""
    return _fitted(f"{message.subject}\n{message.text}", _TEXT, end=_end(message))[0]


def _blocks(message: Message) -> list[dict[str, Any]]:
    # Plain text: marks like * and _, which nothing escapes, stay what they are in it.
    header = {"type": "header", "text": _plain(message.subject.replace("\n", " "), _HEADER)}
    pieces = _fitted(message.text, _SECTION, at_most=_SECTIONS, end=_end(message))
    sections = [{"type": "section", "text": {"type": "plain_text", "text": piece}} for piece in pieces]
    buttons = [_button(button, message) for button in message.buttons if button.choice in _ACTIONS]
    return [header, *sections, *([{"type": "actions", "elements": buttons}] if buttons else [])]


def _button(button: Button, message: Message) -> dict[str, Any]:
    action, style = _ACTIONS[button.choice]
    return {
        "type": "button",
        "action_id": action,
        "value": message.step_id,
        "style": style,
        "text": _plain(button.label, _LABEL),
        "confirm": {
            "title": _plain(button.label, _TITLE),
            "text": _plain(message.subject, _QUESTION),
            "confirm": _plain(button.label, _ANSWER),
            "deny": _plain(_BACK.get(message.locale[:2], "Back"), _ANSWER),
        },
    }


def _plain(text: str, limit: int) -> dict[str, str]:
    return {"type": "plain_text", "text": _fitted(text, limit)[0]}


def _end(message: Message) -> str:
    """What stands at the end of a text that was cut: the reference, by which the message is known."""
    return "… " + message.values.get("reference", "")


def _fitted(text: str, limit: int, *, at_most: int = 1, end: str = "…") -> list[str]:
    """The text, escaped, in at least one and at most so many pieces, none longer than the limit when escaped."""
    pieces = _pieces(text, limit)
    if len(pieces) > at_most:
        pieces = _pieces(text, limit - len(end))[:at_most]
        pieces[-1] += end
    return pieces


def _pieces(text: str, limit: int) -> list[str]:
    pieces, room = [""], limit
    for character in text.strip() or "-":
        escaped = _ESCAPES.get(character, character)
        length = len(escaped) + (character > "\uffff")  # two units in UTF-16, should Slack count so
        if length > room:
            pieces.append("")
            room = limit
        pieces[-1] += escaped
        room -= length
    return [piece for piece in pieces if piece.strip()]


@attrs.frozen(kw_only=True)
class _Kind:
    type: str


@attrs.frozen(kw_only=True)
class _Named:
    id: str
    team_id: str | None = None


@attrs.frozen(kw_only=True)
class _Container:
    message_ts: str | None = None


@attrs.frozen(kw_only=True)
class _Action:
    action_id: str
    action_ts: str
    value: str | None = None


@attrs.frozen(kw_only=True)
class _Click:
    user: _Named
    actions: list[_Action]
    team: _Named | None = None
    api_app_id: str | None = None
    container: _Container | None = None


def _outcome(reply: HttpReply) -> Outcome:
    word = _word(reply)
    if reply.ok:
        return Done() if word == "ok" else Unknown(why="Slack answered with success, but not with ok")
    if word == "invalid_token":
        raise CredentialsRefused(
            "the webhook's URL is not known there; set the new one in SlackConfig.webhook_url",
            platform=reply.platform,
            operation=reply.operation,
            status=reply.status,
            code=word,
        )
    known = word in _REFUSALS or word in _BAD_BLOCKS  # any other text is prose
    return Refused(reason=_REFUSALS.get(word, RefusalReason.OTHER), code=word if known else str(reply.status))


def _word(reply: HttpReply) -> str:
    return reply.body[:100].decode("ascii", "replace").strip()


def _payload(body: bytes) -> str:
    found = parse_qs(body.decode("utf-8", "replace")).get("payload", [])
    if len(found) != 1:
        raise Unreadable("the form has not exactly one field payload")
    return found[0]


def _answers(click: _Click) -> Iterator[ApprovalAnswered]:
    for action in click.actions:
        if action.action_id not in (APPROVE, DENY):
            continue
        step_id = action.value or ""
        case_id, _, _ = step_id.rpartition("-")
        if not case_id:
            raise Unreadable("a button's value does not name a step")
        message = click.container.message_ts if click.container is not None else None
        yield ApprovalAnswered(
            about=ByReference(platform="slack", kind="message", reference=message or step_id),
            at=_moment(action.action_ts),
            delivery_id=f"slack:{step_id}:{action.action_ts}:{click.user.id}",
            case_id=case_id,
            key=step_id,
            approved=action.action_id == APPROVE,
            by=click.user.id,
        )


def _moment(seconds: str) -> datetime:
    """A moment as Slack writes it: Unix seconds with a fraction, which no float may touch."""
    if (parts := _SECONDS.fullmatch(seconds)) is None:
        raise Unreadable("a click's time is not a number of seconds")
    return datetime.fromtimestamp(int(parts[1]), UTC) + timedelta(
        microseconds=int((parts[2] or "").ljust(6, "0"))
    )
