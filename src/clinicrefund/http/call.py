"""A call is data, a reply is data. Adapters build the one and read the other; `session` alone sends."""

import json as jsonlib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Self, TypeAlias, TypeVar, cast
from urllib.parse import quote_plus

import attrs

from clinicrefund.errors import InputRefused, OutcomeUnknown, Unavailable
from clinicrefund.http.decoding import Unreadable, structure

_T = TypeVar("_T")

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch

Pairs: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


@attrs.frozen(kw_only=True)
class HttpCall:
    """One HTTP call, not yet sent.

    ``path`` is relative to the platform's base URL, or absolute on the same host (a vendor's link to the next page).
    At most one of ``form``, ``json``, ``text`` is the body; a `Decimal` in ``json`` leaves as a number with exactly its
    digits, for vendors that take money as one. ``effect`` marks a write: it is announced, its body is
    sent at most once (but for ``proof``), and no clear answer means `OutcomeUnknown`; a call without effect may be
    repeated freely.
    ``key`` goes into the header ``key_header`` where the vendor has one. ``answers``: statuses beyond the usual
    refusals with which this vendor answers this call, for the adapter to read: surely nothing happened.

    ``proof``: text that the success of this very call holds and no other answer does, like our step id where the vendor
    keeps it. It lets the call leave on a connection that was used before, where an answer may be a late one to an
    earlier call: only a success that holds the proof is believed there, and anything else has the call made again on a
    new connection. So it is for calls that may be made twice for one: reads, and writes whose ``key`` the vendor
    honours. Without it every call has a connection of its own.
    """

    operation: str
    method: str
    path: str
    query: Pairs = ()
    form: Pairs | None = None
    json: object = None
    text: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    key: str | None = None
    key_header: str | None = None
    effect: bool = False
    answers: frozenset[int] = frozenset()
    proof: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.form is not None) + (self.json is not None) + (self.text is not None) > 1:
            raise InputRefused(f"the call {self.operation} has several bodies; give one of form, json, text")
        if self.proof is not None and not self.proof:
            raise InputRefused(f"the proof of {self.operation} is empty: any answer would hold it")
        if self.proof is not None and self.effect and self.key is None:
            raise InputRefused(
                f"{self.operation} has a proof and no key: a write may be made twice only where a key makes it one"
            )

    @classmethod
    def get(cls, path: str, /, *, operation: str, query: Pairs = ()) -> Self:
        """A read."""
        return cls(operation=operation, method="GET", path=path, query=query)

    @classmethod
    def post(
        cls,
        path: str,
        /,
        *,
        operation: str,
        query: Pairs = (),
        json: object = None,
        form: Pairs | None = None,
        key: str | None = None,
        key_header: str | None = None,
        effect: bool = True,
        answers: frozenset[int] = frozenset(),
        proof: str | None = None,
    ) -> Self:
        """A write; with ``effect=False`` a read that the vendor wants as POST."""
        return cls(
            operation=operation,
            method="POST",
            path=path,
            query=query,
            json=json,
            form=form,
            key=key,
            key_header=key_header,
            effect=effect,
            answers=answers,
            proof=proof,
        )

    @classmethod
    def put(
        cls,
        path: str,
        /,
        *,
        operation: str,
        query: Pairs = (),
        json: object = None,
        form: Pairs | None = None,
        key: str | None = None,
        answers: frozenset[int] = frozenset(),
    ) -> Self:
        """A write that sets a state."""
        return cls(
            operation=operation,
            method="PUT",
            path=path,
            query=query,
            json=json,
            form=form,
            key=key,
            effect=True,
            answers=answers,
        )

    def encoded(self) -> tuple[str | None, bytes]:
        """The media type and the bytes of the body: the same bytes for the same call, always."""
        if self.form is not None:
            return "application/x-www-form-urlencoded", _urlencoded(self.form).encode()
        if self.json is not None:
            return "application/json", _json(self.json).encode()
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        return None, b""

    def target(self) -> str:
        """Path and query, as they stand in the request line."""
        return f"{self.path}?{_urlencoded(self.query)}" if self.query else self.path

    def digest(self) -> str:
        """What names these bytes: method, target, key and body, each with its length."""
        return self.digest_with(self.encoded()[1])

    def digest_with(self, body: bytes, /) -> str:
        """`digest`, for whoever has encoded the body already."""
        parts = (self.method.encode(), self.target().encode(), (self.key or "").encode(), body)
        return sha256(b"".join([b"%d:%b," % (len(part), part) for part in parts])).hexdigest()


@attrs.frozen(kw_only=True)
class HttpReply:
    """An answer: a success, or a refusal that the adapter reads (400, 402, 403, 404, 409, 410, 412, 413, 422)."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    platform: str = ""
    operation: str = ""
    effect: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status says success (2xx)."""
        return 200 <= self.status < 300

    def header(self, name: str, /) -> str | None:
        """A header by its name, in any case."""
        return self.headers.get(name.lower())

    def into(self, shape: type[_T], /) -> _T:
        """The JSON body as that attrs class; keys that the class does not name are ignored.

        Where it does not fit: `OutcomeUnknown` after a write, `Unavailable` after a read. Neither shows the body.
        """
        try:
            return structure(self.body, shape)
        except Unreadable as unreadable:
            error = OutcomeUnknown if self.effect else Unavailable
            raise error(
                str(unreadable), platform=self.platform, operation=self.operation, status=self.status
            ) from None

    def unreadable(self, why: str, /) -> OutcomeUnknown | Unavailable:
        """The error to raise where an answer has the right shape and makes no sense."""
        error = OutcomeUnknown if self.effect else Unavailable
        return error(why, platform=self.platform, operation=self.operation, status=self.status)


def _urlencoded(pairs: Pairs) -> str:
    """As `urllib.parse.urlencode`, which takes three times as long for the plain words that most values are."""
    every = pairs.items() if isinstance(pairs, Mapping) else pairs
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in every])


def _quoted(text: str) -> str:
    return text if _PLAIN(text) else quote_plus(text)


def _json(value: object) -> str:
    """As `json.dumps`, which knows no way to write a `Decimal` but through a float."""
    match value:
        case Decimal():
            return format(value, "f")
        case Mapping():
            pairs = cast("Mapping[str, object]", value).items()
            return "{" + ",".join(f"{_json(name)}:{_json(part)}" for name, part in pairs) + "}"
        case list() | tuple():
            return "[" + ",".join(_json(part) for part in cast("Sequence[object]", value)) + "]"
        case _:
            return jsonlib.dumps(value, ensure_ascii=False)
