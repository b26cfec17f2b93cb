from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import anyio
import attrs
import pytest

from clinicrefund.clock import MachineClock
from clinicrefund.errors import InputRefused
from clinicrefund.secret import Secret
from clinicrefund.testing import RunningClock, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.held_secrets import shown
from clinicrefund.testing.stand_in import RefusedByVendor


@attrs.frozen
class Hidden:
    key: Secret


@attrs.frozen
class Shown:
    key: Secret
    copied: str


@attrs.frozen
class Holder:
    inside: object


KEY = Secret("sk_made_up_for_this")


def test_a_secret_that_is_kept_as_one_does_not_show() -> None:
    assert shown(Holder(Hidden(KEY))) is None


@pytest.mark.parametrize(
    "hold", [lambda one: one, lambda one: Holder([one]), lambda one: Holder({"a": (one,)})]
)
def test_a_secret_that_was_copied_into_text_is_found_wherever_it_is(hold: object) -> None:
    assert callable(hold)
    assert shown(hold(Shown(KEY, f"Bearer {KEY.reveal()}"))) is not None


def test_an_object_that_holds_itself_is_searched_once() -> None:
    class Round:
        def __init__(self) -> None:
            self.itself: object = self
            self.key = KEY

    assert shown(Round()) is None


@pytest.mark.anyio
async def test_the_machines_clock_sleeps_and_tells_utc() -> None:
    clock = MachineClock()
    before = clock.now()
    await clock.sleep(0.01)
    await clock.sleep(-1)
    assert before.utcoffset() == timedelta(0)
    assert timedelta(0) < clock.now() - before < timedelta(seconds=5)


@pytest.mark.anyio
async def test_a_running_clock_runs_and_can_be_moved_forward() -> None:
    clock = RunningClock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    clock.advance(timedelta(days=1))
    assert timedelta(hours=23) < clock.now() - datetime.now(UTC) <= timedelta(days=1)
    before = clock.now()
    with anyio.fail_after(5):
        await clock.sleep(0.01)
    assert clock.now() > before
    with pytest.raises(InputRefused, match="back"):
        clock.advance(timedelta(seconds=-1))


def test_a_request_is_read_as_form_json_and_query() -> None:
    request = SandboxRequest(raw_query="a=1&a=2&b=", body=b"x=1&x=2&y=", headers={"x-one": "1"})
    assert request.form() == {"x": "2", "y": ""}
    assert (request.query, request.all_of("a"), request.all_of("c")) == ({"a": "2", "b": ""}, ["1", "2"], [])
    assert (request.header("X-One"), request.header("x-two")) == ("1", "")
    read: Mapping[str, int] = SandboxRequest(body=b'{"a": 1}').json()
    assert read == {"a": 1}


def test_a_reply_is_json_text_or_nothing() -> None:
    assert SandboxReply(json={"a": 1}).encoded() == ("application/json", b'{"a": 1}')
    assert SandboxReply(text="a").encoded() == ("text/plain; charset=utf-8", b"a")
    assert SandboxReply(status=204).encoded()[1] == b""


class Office(StandIn):
    platform = "office"
    host = "office.example"

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path == "/token" or request.header("authorization") == "Bearer known"
        return None if known else self.token_expired()

    @route("POST", "/token")
    def token(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json="known")

    @route("GET", "/rooms/{id}")
    def room(self, request: SandboxRequest) -> SandboxReply:
        return SandboxReply(json=self._room(request.path["id"]))

    def _room(self, number: str) -> str:
        if number != "1":
            raise RefusedByVendor(SandboxReply(status=410, json="gone"))
        return "a room"


def test_whoever_is_turned_away_at_the_door_reaches_no_route_and_is_counted() -> None:
    office = Office()
    assert office.answer("GET", "/rooms/1", SandboxRequest()).status == 401
    assert office.answer("GET", "/no/such/path", SandboxRequest()).status == 401
    assert office.answer("POST", "/token", SandboxRequest()).json == "known"
    assert office.requests == ["GET /rooms/1", "GET /no/such/path", "POST /token"]


def test_a_refusal_from_the_depth_of_a_check_is_the_answer() -> None:
    known = SandboxRequest(headers={"authorization": "Bearer known"})
    assert Office().answer("GET", "/rooms/1", known).json == "a room"
    assert Office().answer("GET", "/rooms/2", known) == SandboxReply(status=410, json="gone")
