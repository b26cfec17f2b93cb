"""From a genuine delivery to a strange one: signed by the vendor after all, or not."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import cast
from urllib.parse import parse_qsl, quote_from_bytes, urlencode

import attrs

from clinicrefund.ports import WebhookRequest

from .stories import Genuine
from .values import PLANTED, Json, deep, misfit, strange

_HUGE = 400_000
_SCRAPS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'""',
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"not json",
    b"{",
    b"<xml/>",
)
_GARBAGE = (
    *(
        "",
        " ",
        "garbage",
        "=",
        ",",
        "é",
        "\x00",
        "v1=",
        "t=1,v1=zz",
        "v0=",
        "t=,v1=",
        "v1,abc",
        "Bearer",
        "Bearer ",
    ),
    *(
        "\ud800",
        "a" * 70_000,
        "9" * 400,
        "-1",
        "1e9",
        "١٢٣",
        "t=99999999999999999999,v1=00",
        "sha256=",
        "null",
        "=" * 64,
    ),
)
_PAIRS = tuple[str, str]


@attrs.frozen(kw_only=True)
class Strange:
    """What is delivered, and out of what it was made. ``signed``: by the vendor's own way to sign, whatever it says."""

    what: str
    request: WebhookRequest
    base: Genuine
    signed: bool
    later: timedelta = timedelta(0)


def strange_delivery(random: Random, own: Sequence[Genuine], others: Sequence[Genuine]) -> Strange:
    """One of the vendor's deliveries, changed in a way that the random numbers choose."""
    base = random.choice(own)
    if random.randrange(100) < 65:
        what, body = _strange_body(random, base, random.choice(others))
        try:
            request = base.signed(body)
        except Exception:  # noqa: BLE001 - a body that the vendor's own signing chokes on cannot be signed
            request = attrs.evolve(base.request, body=body)
            return Strange(what=f"{what}, unsigned", request=request, base=base, signed=False)
        return Strange(what=f"{what}, signed", request=request, base=base, signed=True)
    if random.randrange(2):
        body = random.choice(_BYTES)(random, base.request.body)
        what, request = "changed bytes", attrs.evolve(base.request, body=body)
    else:
        what, request = random.choice(_REQUESTS)(random, base.request, random.choice(others).request)
    return Strange(what=what, request=request, base=base, signed=False)


# ---- bodies that are signed ------------------------------------------------------------------------------------


def _strange_body(random: Random, base: Genuine, other: Genuine) -> tuple[str, bytes]:
    body = base.request.body
    match random.randrange(40):
        case 0:
            return "another vendor's body", other.request.body
        case 1:
            return "a scrap", random.choice(_SCRAPS)
        case 2:
            return "changed bytes", random.choice(_BYTES)(random, body)
        case 3:
            return "another encoding", _encoded(random, body)
        case 4:
            return "a form", urlencode({PLANTED: "x", "payload": body.decode("utf-8", "replace")}).encode()
        case 5 if random.randrange(8) == 0:
            return "huge", _huge(random)
        case 6:
            return "deep", random.choice((b"[" * 3000, b'{"a":' * 3000, json.dumps(deep(400)).encode()))
        case _:
            return _misfit_of(random, base)


def _misfit_of(random: Random, base: Genuine) -> tuple[str, bytes]:
    kind = base.request.headers.get("content-type", "").partition(";")[0]
    if kind == "application/x-www-form-urlencoded":
        return "misfit fields", _misfit_form(random, base.request.body)
    if kind == "multipart/form-data":
        return "misfit parts", random.choice(_BYTES)(random, base.request.body)
    document = _parsed(base.request.body)
    return "misfit JSON", misfit(random, {} if document is None else document)


def _misfit_form(random: Random, body: bytes) -> bytes:
    pairs = [*parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)] or [("a", "b")]
    place = random.randrange(len(pairs))
    name, value = pairs[place]
    match random.randrange(8):
        case 0:
            del pairs[place]
        case 1:
            pairs.insert(random.randrange(len(pairs) + 1), (name, _text(random)))
        case 2:
            pairs[place] = (random.choice((PLANTED, name.upper(), f"{name}\x00", f"{name}[]", "")), value)
        case 3:
            return (
                urlencode(pairs).encode()
                + b"&"
                + quote_from_bytes(random.randbytes(12)).encode()
                + b"=%FF%GG%"
            )
        case 4:
            pairs += [(f"{PLANTED}{number}", "x") for number in range(random.choice((1, 200, 1200)))]
        case 5 | 6 if (document := _parsed(value.encode("utf-8", "surrogatepass"))) is not None:
            pairs[place] = (name, misfit(random, document).decode("utf-8", "replace"))
        case _:
            pairs[place] = (name, _text(random))
    return urlencode(
        [(one.encode("utf-8", "surrogatepass"), two.encode("utf-8", "surrogatepass")) for one, two in pairs]
    ).encode()


def _text(random: Random) -> str:
    value = strange(random)
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _encoded(random: Random, body: bytes) -> bytes:
    text = body.decode("utf-8", "replace")
    return text.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7", "cp500")), "replace")


def _huge(random: Random) -> bytes:
    size = random.choice((_HUGE // 8, _HUGE))
    return random.choice(
        (
            lambda: json.dumps({"data": [PLANTED] * (size // 24)}).encode(),
            lambda: b'{"id":"' + b"x" * size + b'"}',
            lambda: b"{" + b",".join(b'"%d":%d' % (one, one) for one in range(size // 16)) + b"}",
            lambda: b"a=" + b"%41" * (size // 3),
            lambda: b" " * size,
            lambda: b"--x\r\n" * (size // 5),
            lambda: b"[" * size,
            lambda: b"1" * size,
        )
    )()


# ---- bytes, by nobody's hand -----------------------------------------------------------------------------------


def _flipped(random: Random, body: bytes) -> bytes:
    changed = bytearray(body or b"x")
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _replaced(random: Random, body: bytes) -> bytes:
    start = random.randrange(len(body) + 1)
    end = min(len(body), start + random.randrange(12))
    return body[:start] + random.randbytes(random.randrange(12)) + body[end:]


def _cut(random: Random, body: bytes) -> bytes:
    return body[: random.randrange(len(body) + 1)]


_BYTES: Sequence[Callable[[Random, bytes], bytes]] = (
    _flipped,
    _flipped,
    _replaced,
    _cut,
    lambda random, body: body + random.choice((b" ", b"\n", b"\x00", b"&", body, b"&a=b", b"}")),
    lambda random, body: random.choice((b" ", b"\x00", b"\xef\xbb\xbf", b"&")) + body,
    lambda _, body: body.swapcase(),
    lambda random, _: random.choice(_SCRAPS),
    lambda random, _: random.randbytes(random.randrange(300)),
)


# ---- headers, addresses and methods ----------------------------------------------------------------------------

_Changed = tuple[str, WebhookRequest]


def _header(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    name = random.choice(sorted(request.headers))
    value = request.headers[name]
    changes: Mapping[str, Callable[[], str]] = {
        "garbage": lambda: random.choice(_GARBAGE),
        "cut": lambda: value[: random.randrange(len(value) + 1)],
        "twice": lambda: f"{value}, {value}",
        "flipped": lambda: _flipped(random, value.encode("utf-8", "replace")).decode("latin-1"),
        "other case": value.swapcase,
        "with more": lambda: (
            f"{value}{random.choice((' ', ',', ';x', chr(0), 'a', '=', ',v1=00', ' v1,AAAA'))}"
        ),
        "a number": lambda: random.choice(
            ("0", "-1", "99999999999", "253402300800", "1" * 5000, "1.5", "nan")
        ),
    }
    how = random.choice(sorted(changes))
    headers = {**request.headers, name: changes[how]()}
    return f"header {name} {how}", attrs.evolve(request, headers=headers)


def _without(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    gone = set(random.sample(sorted(request.headers), random.randrange(1, len(request.headers) + 1)))
    headers = {name: value for name, value in request.headers.items() if name not in gone}
    return f"without {len(gone)} headers", attrs.evolve(request, headers=headers)


def _strangers_headers(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    return "another vendor's headers", attrs.evolve(request, headers=other.headers)


def _strangers(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    return "another vendor's delivery", other


def _kind(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    kinds = ("", "text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data",
             "multipart/form-data; boundary=", "multipart/form-data; boundary=x", "é", "application/json; charset=x",
             'multipart/form-data; boundary="\x00"', "multipart/form-data; boundary=" + "x" * 5000)  # fmt: skip
    headers = {**request.headers, "content-type": random.choice(kinds)}
    return "another content type", attrs.evolve(request, headers=headers)


def _parts(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    """The same fields as a multipart form, as Mailgun sends mail with attachments; whole, or with something odd."""
    pairs = cast("list[_PAIRS]", parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    odd = random.randrange(3) == 0
    pieces = [
        b'--x\r\nContent-Disposition: form-data; name="' + name.encode("utf-8", "replace") + b'"\r\n\r\n'
        + value.encode("utf-8", "replace") + b"\r\n"
        for name, value in pairs
    ]  # fmt: skip
    if odd:
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(_ODD_PARTS))
    body = b"".join(pieces) + random.choice((b"--x--\r\n", b"--x--", b"", b"--x"))
    headers = {**request.headers, "content-type": "multipart/form-data; boundary=x"}
    return "as multipart", attrs.evolve(request, headers=headers, body=body)


_ODD_PARTS = (
    (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n!!\r\n"
    ),
    b"--x\r\n\r\n\r\n",
    b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n",
    b"--x\r\nContent-Disposition: form-data; name*=utf-8''%FF\r\n\r\nx\r\n",
    b"--x--\r\n",
    b"--x\r\n" * 1200,
    b'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=nope\r\n\r\nx\r\n',
)


def _address(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    place, _, query = request.url.partition("?")
    urls = (f"{place}x", f"{place}?", f"{place}?{query}&a=b", f"{place}?{urlencode({'secret': PLANTED})}", place,
            f"{place}/Appointment/%00", f"{place}/{PLANTED}", f"{place}/../x?{query}", f"{request.url}#x",
            request.url.upper(), f"{place}?secret=%FF%00", f"{place}?secret=&secret=",
            f"{place}/Appointment/")  # fmt: skip
    return "another address", attrs.evolve(request, url=random.choice(urls))


def _method(random: Random, request: WebhookRequest, other: WebhookRequest) -> _Changed:
    return "another method", attrs.evolve(request, method=random.choice(("GET", "PUT", "DELETE", "", "post")))


_REQUESTS: Sequence[Callable[[Random, WebhookRequest, WebhookRequest], _Changed]] = (
    *(_header, _header, _header, _header, _without, _strangers_headers, _strangers),
    *(_kind, _parts, _parts, _address, _method),
)


def bytes_of(random: Random, body: bytes) -> bytes:
    """The body with some of its bytes changed, added or gone."""
    return random.choice(_BYTES)(random, body)
