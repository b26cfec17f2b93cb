"""One exchange: one request out, one bounded answer in, whatever line carries it. It loads no HTTP stack.

`HttpxLine` and `AiohttpLine` are the two lines, each in the one module that touches its library; they are imported
when the first call is sent, so that nobody pays for a library who sends nothing.
"""

import sys
import time
import zlib
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    import httpx

BODY_LIMIT: Final = 4 * 1024 * 1024
"""The longest answer that is read, in bytes, before and after decompression. No endpoint in use comes near it."""

CONNECTIONS: Final = 100
"""How many connections a line has open at a time; with `Line.carry`'s ``lane``, in each lane."""

_CONNECT_SECONDS: Final = 10.0


class Broken(Exception):
    """An exchange that gave no whole answer.

    ``left``: whether the server can have seen the request. ``passing``: whether it may be better in a moment.
    ``reused``: the connection had brought an answer before.
    """

    def __init__(self, why: str, /, *, left: bool, passing: bool, reused: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.left = left
        self.passing = passing
        self.reused = reused


class Lost(Exception):
    """Raised by a line that has no whole answer to give. ``why`` is in our words: it holds no address and no header."""

    def __init__(self, why: str, /, *, passing: bool = True, reused: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.passing = passing
        self.reused = reused


def late(seconds: float, /) -> Lost:
    """What a line raises when the time for its answer is over."""
    return Lost(f"no answer came within {seconds:g} seconds", passing=False)


class Withheld(Exception):
    """Raised into a line that wants a write's body when it may not have it."""


@attrs.frozen(kw_only=True)
class Wire:
    """A request as it goes on the wire."""

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Answer:
    """An answer as it came, whole. Header names in lower case.

    ``reused``: it came on a connection that had brought another one before, so it may be a late second answer to an
    earlier call.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    reused: bool = False


class Departure:
    """The body of a write: it can leave once, until a moment, and knows whether it left.

    ``deadline`` is a moment of `time.monotonic`. A line that sends the head of a request before it asks for the
    body says so by `head_leaves`, because a head alone can be a whole request.
    """

    def __init__(self, body: bytes, /, *, deadline: float | None = None) -> None:
        self._body = body
        self._deadline = deadline
        self._sealed = False
        self._pulled = False
        self.left = False
        self.late = False

    def head_leaves(self) -> None:
        """The first byte of the head is about to go."""
        if self.left:
            raise Withheld("the request has left once")
        self._leave()

    def pull(self) -> bytes:
        """The bytes, once."""
        if self._pulled:
            raise Withheld("the body has left once")
        if not self.left:
            self._leave()
        self._pulled = True
        return self._body

    def seal(self) -> bool:
        """From now on nothing leaves any more. Whether it has left."""
        self._sealed = True
        return self.left

    def _leave(self) -> None:
        if self._sealed:
            raise Withheld("the call is over")
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.late = True
            self.seal()
            raise Withheld("too late")
        self.left = True


@runtime_checkable
class Line(Protocol):
    """What carries requests: connections of one library, or the sandbox in this process."""

    async def carry(
        self, wire: Wire, departure: Departure | None, /, *, seconds: float, lane: Hashable
    ) -> Answer:
        """The answer, its body as it came. `Lost` where there is none; a write's body comes from its ``departure``.

        It takes ``seconds`` at most, in all; then it raises `late`. With a ``lane`` it may use a connection that served
        calls of the same lane before, and keep it for others; without (None) it opens one for this call.
        """
        ...

    async def aclose(self) -> None:
        """Closes all connections."""
        ...


def line_over(transport: "httpx.AsyncBaseTransport | None", /) -> "Line":
    """What carries the calls: the host's transport, or by itself the fastest that is installed.

    A transport of httpx that is a `Line`, too, is spared the making of httpx's requests and responses.
    """
    if isinstance(transport, Line):
        return transport
    if transport is None and not _on_trio():
        with suppress(ImportError):
            from clinicrefund.http.aiohttp_line import AiohttpLine

            return AiohttpLine()
    from clinicrefund.http.httpx_line import HttpxLine

    return HttpxLine(transport)


def _on_trio() -> bool:
    trio = sys.modules.get("trio")
    try:
        return trio is not None and bool(trio.lowlevel.current_trio_token())
    except RuntimeError:
        return False


def connect_seconds(seconds: float, /) -> float:
    """The bound on opening a connection. A shorter one than the whole: a line that gives up itself closes it."""
    return min(seconds / 2, _CONNECT_SECONDS)


async def exchange(
    line: Line, wire: Wire, /, *, departure: Departure | None, seconds: float, lane: Hashable = None
) -> Answer:
    """Send once and read the answer, within ``seconds`` in all. `Broken` where no whole answer came.

    With a ``departure`` (a write) what left is known exactly; without one (a read) ``left`` says nothing.
    """
    reused = False
    try:
        return _unpacked(await line.carry(wire, departure, seconds=seconds, lane=lane))
    except Lost as lost:
        why, passing, reused = lost.why, lost.passing, lost.reused
    except Exception:  # noqa: BLE001  whatever a line raises: the departure, not its name, says what left
        why, passing = "the transport failed", True
    finally:
        left = departure is None or departure.seal()
    if departure is not None and departure.late:
        why = "the time in which it might have left was over"
    raise Broken(why, left=left, passing=passing, reused=reused)


def _unpacked(answer: Answer) -> Answer:
    encoding = answer.headers.get("content-encoding")
    return answer if encoding is None else attrs.evolve(answer, body=_plain(answer.body, encoding))


def _plain(body: bytes, encoding: str) -> bytes:
    # We ask for "identity"; a proxy on the way may compress all the same. Never more than the limit comes out.
    encoding = encoding.strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Lost("the answer is compressed in a way that was not asked for", passing=False)
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = inflate.decompress(body, BODY_LIMIT)
    except zlib.error:
        raise Lost("the answer could not be decompressed", passing=False) from None
    if not inflate.eof:
        raise Lost(f"the answer is longer than {BODY_LIMIT} bytes, or ended early", passing=False)
    return plain
