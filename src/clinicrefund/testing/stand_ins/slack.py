"""A stand-in for Slack: an incoming webhook, what its channel holds, and signed clicks on buttons.

Written from Slack's documents on incoming webhooks, Block Kit and interactivity (https://docs.slack.dev).
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from urllib.parse import urlencode

import attrs

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
Answer: TypeAlias = Literal["approve", "deny"]

TEAM, APP, CHANNEL, BOT = "T0SANDBOX", "A0SANDBOX", "C0SANDBOX", "B0SANDBOX"
HOOK_PATH = f"/services/{TEAM}/{BOT}/sandboxsandboxsandboxsand"
SIGNING_SECRET = "5a4dbo0x5a4dbo0x5a4dbo0x5a4dbo0x"  # noqa: S105 - made up
APPROVER = "U-APPROVER"

_STATUSES = {
    "invalid_payload": 400,
    "invalid_blocks": 400,
    "invalid_blocks_format": 400,
    "no_text": 400,
    "missing_text_or_fallback_or_attachments": 400,
    "too_many_attachments": 400,
    "user_not_found": 400,
    "invalid_token": 403,
    "action_prohibited": 403,
    "posting_to_general_channel_denied": 403,
    "no_service": 404,
    "no_service_id": 404,
    "no_active_hooks": 404,
    "no_team": 404,
    "team_disabled": 404,
    "channel_not_found": 404,
    "channel_is_archived": 410,
    "rate_limited": 429,
    "rollup_error": 500,
}
_MOST_TEXT = 40_000
_MOST_BLOCKS = 50
_MOST_IN_ALL = 13_200


class SlackStandIn(StandIn):
    """``says``: the word that every post is refused with; None: posts are taken."""

    platform = "slack"
    host = "hooks.slack.com"

    def __init__(self) -> None:
        super().__init__()
        self.says: str | None = None
        self._messages: list[Object] = []

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.slack import SlackConfig, SlackNotifier, SlackWebhooks

        config = SlackConfig(
            webhook_url=Secret(at(f"https://{self.host}{HOOK_PATH}")),
            signing_secret=Secret(SIGNING_SECRET),
            team_id=TEAM,
            app_id=APP,
            live=False,
        )
        return Adapters(
            notifiers={"slack": SlackNotifier(config, session)}, webhooks={"slack": SlackWebhooks(config)}
        )

    # ---- what happens at Slack without us ------------------------------------------------------------------------

    def click(
        self,
        message: Mapping[str, Any],
        answer: Answer,
        user: str = APPROVER,
        /,
        *,
        home: str = TEAM,
        app: str = APP,
    ) -> None:
        """Somebody clicks a button of a message and confirms. ``home``: the workspace of that person."""
        wanted = f"refund_{answer}"
        button = next(one for one in _buttons(message) if one["action_id"] == wanted)
        action = {
            name: button[name] for name in ("type", "action_id", "value", "style", "text") if name in button
        }
        self._interact(
            {
                "type": "block_actions",
                "user": {"id": user, "username": "front.desk", "name": "front.desk", "team_id": home},
                "api_app_id": app,
                "token": "deprecated",
                "container": {
                    "type": "message",
                    "message_ts": message["ts"],
                    "channel_id": CHANNEL,
                    "is_ephemeral": False,
                },
                "trigger_id": f"12321423423.333649436676.{len(self.outbox)}",
                "team": {"id": TEAM, "domain": "sandbox-clinic"},
                "channel": {"id": CHANNEL, "name": "refunds"},
                "message": {"type": "message", "bot_id": BOT, "ts": message["ts"], "text": message["text"]},
                "response_url": f"https://{self.host}/actions/{TEAM}/12321423423/xxxx",
                "actions": [{**action, "block_id": "sandbox", "action_ts": _stamp(self.now())}],
            }
        )

    def use_shortcut(self, user: str = APPROVER, /) -> None:
        """Somebody uses a shortcut of the app: an interaction that has nothing to do with a message."""
        shortcut = {"type": "shortcut", "callback_id": "help", "user": {"id": user}, "team": {"id": TEAM}}
        self._interact({**shortcut, "token": "deprecated", "action_ts": _stamp(self.now())})

    # ---- what tests look at --------------------------------------------------------------------------------------

    def messages(self) -> Sequence[Mapping[str, Any]]:
        """All messages in the channel, oldest first."""
        return deepcopy(self._messages)

    def inventory(self) -> Mapping[str, Sequence[str]]:
        lines = [f"{one['ts']}, {len(_buttons(one))} buttons" for one in self._messages]
        return {"messages": lines}

    # ---- routes --------------------------------------------------------------------------------------------------

    @route("POST", "/services/{team}/{hook}/{secret}")
    def post(self, request: SandboxRequest) -> SandboxReply:
        team, hook, secret = HOOK_PATH.split("/")[2:]
        asked = request.path
        if asked["team"] != team:
            return _refused("no_team")
        if asked["hook"] != hook:
            return _refused("no_service")
        if asked["secret"] != secret:
            return _refused("invalid_token")
        word = self.says or _wrong_with(request)
        if word is not None:
            return _refused(word)
        body = request.json()
        text = body.get("text", "")[:_MOST_TEXT]
        self._messages.append({**body, "text": text, "ts": self._new_ts(), "bot_id": BOT, "channel": CHANNEL})
        return SandboxReply(text="ok")

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=302, text="", headers={"Location": "https://docs.slack.dev"})

    def refusal(self) -> SandboxReply:
        return _refused("channel_is_archived")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        reply = _refused("rate_limited")
        return attrs.evolve(reply, headers={"Retry-After": f"{retry_after.total_seconds():.0f}"})

    def server_error(self) -> SandboxReply:
        return _refused("rollup_error")

    def token_expired(self) -> SandboxReply:
        return _refused("invalid_token")

    # ---- how Slack works inside ----------------------------------------------------------------------------------

    def _new_ts(self) -> str:
        return f"{int(self.now().timestamp())}.{len(self._messages):06d}"

    def _interact(self, payload: Object) -> None:
        body = urlencode({"payload": json.dumps(payload, separators=(",", ":"))}).encode()
        self.outbox.append(
            SandboxDelivery(platform=self.platform, body=body, sign=lambda _, body, at: sign(body, at))
        )


def sign(body: bytes, at: datetime, secret: str = SIGNING_SECRET) -> Mapping[str, str]:
    """The headers of an interaction that leaves at that moment."""
    seconds = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), b"v0:" + seconds.encode() + b":" + body, "sha256").hexdigest()
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": seconds,
        "X-Slack-Signature": f"v0={digest}",
    }


def _stamp(moment: datetime) -> str:
    return f"{int(moment.timestamp())}.{moment.microsecond:06d}"


def _refused(word: str) -> SandboxReply:
    return SandboxReply(status=_STATUSES[word], text=word)


def _buttons(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    blocks: Sequence[Mapping[str, Any]] = message.get("blocks", ())
    return [one for block in blocks if block["type"] == "actions" for one in block["elements"]]


# ---- what is refused before any work ---------------------------------------------------------------------------


def _wrong_with(request: SandboxRequest) -> str | None:
    """The word for what is wrong with a post; None: nothing."""
    try:
        body: object = request.json()
    except ValueError:
        return "invalid_payload"
    if not isinstance(body, dict) or not request.header("content-type").startswith("application/json"):
        return "invalid_payload"
    fields = cast("Object", body)
    blocks: Sequence[object] = fields.get("blocks", [])
    if not fields.get("text") and not blocks:
        return "no_text"
    if len(blocks) > _MOST_BLOCKS or not all(map(_is_block, blocks)):
        return "invalid_blocks"
    if len(json.dumps(blocks, ensure_ascii=False)) > _MOST_IN_ALL:
        return "invalid_blocks"
    return None


def _is_block(block: Any) -> bool:
    match block:
        case {"type": "header", "text": {"type": "plain_text", "text": str(text)}}:
            return 1 <= len(text) <= 150
        case {"type": "section", "text": {"type": "plain_text" | "mrkdwn", "text": str(text)}}:
            return 1 <= len(text) <= 3000
        case {"type": "actions", "elements": [*elements]}:
            names = [one.get("action_id") for one in elements]
            return 1 <= len(names) <= 25 and len(set(names)) == len(names) and all(map(_is_button, elements))
        case _:
            return False


def _is_button(button: Any) -> bool:
    match button:
        case {
            "type": "button",
            "action_id": str(action),
            "text": {"type": "plain_text", "text": str(label)},
            "value": str(value),
        }:
            long = len(action) > 255 or len(label) > 75 or len(value) > 2000
            return not long and _is_question(button.get("confirm"))
        case _:
            return False


def _is_question(confirm: Any) -> bool:
    """What a click asks before it counts, where the button has such a thing."""
    match confirm:
        case None:
            return True
        case {
            "title": {"type": "plain_text", "text": str(title)},
            "text": {"text": str(question)},
            "confirm": {"type": "plain_text", "text": str(yes)},
            "deny": {"type": "plain_text", "text": str(no)},
        }:
            return len(title) <= 100 and len(question) <= 300 and max(len(yes), len(no)) <= 30
        case _:
            return False
