"""Posted forms, read before anything in them may be believed."""

from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.errors import WebhookRejected
from clinicrefund.http.forms import MOST_FIELDS, form_pairs, signed_inside

FORM = "application/x-www-form-urlencoded"


@attrs.frozen(kw_only=True)
class Signed:
    signature: str


def multipart(pairs: list[tuple[str, str]]) -> tuple[str, bytes]:
    boundary = "an-unlikely-boundary-7d1f"
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    )
    return f'multipart/form-data; boundary="{boundary}"', f"{parts}--{boundary}--\r\n".encode()


@given(pairs=st.lists(st.tuples(st.from_regex(r"[A-Za-z-]{1,20}", fullmatch=True), st.text()), min_size=1))
def test_a_form_with_files_and_one_without_say_the_same(pairs: list[tuple[str, str]]) -> None:
    plain = [(name, value.replace("\r", "").replace("\n", "")) for name, value in pairs]
    assert form_pairs(FORM, urlencode(plain).encode()) == plain
    assert form_pairs(*multipart(plain)) == plain


def test_lines_in_a_field_stay_as_they_are() -> None:
    assert form_pairs(*multipart([("text", "one\r\ntwo\n\nthree")])) == [("text", "one\r\ntwo\n\nthree")]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert form_pairs(FORM, b"a=%ff\xff") == [("a", "\ufffd\ufffd")]


def test_files_and_parts_without_a_name_are_left_out() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n1\r\n'
        b"--x\r\nContent-Disposition: form-data\r\n\r\n2\r\n"
        b'--x\r\nContent-Disposition: form-data; name="kept"\r\n\r\n3\r\n--x--\r\n'
    )
    assert form_pairs("multipart/form-data; boundary=x", body) == [("kept", "3")]


def test_what_is_no_form_has_no_fields() -> None:
    assert form_pairs("application/json", b'{"a": 1}') == ()
    assert form_pairs("", b"a=1") == ()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n" * (MOST_FIELDS + 1)),
        (FORM, b"a=1&" * (MOST_FIELDS + 1)),
    ],
)
def test_a_form_without_end_or_bound_is_rejected(kind: str, body: bytes) -> None:
    with pytest.raises(WebhookRejected):
        form_pairs(kind, body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"signature": 1}', b"\xff", b"[" * 100_000])
def test_json_without_a_signature_in_it_is_rejected(body: bytes) -> None:
    with pytest.raises(WebhookRejected):
        signed_inside(body, Signed)


def test_the_signature_is_taken_out_of_json() -> None:
    assert signed_inside(b'{"signature": "s", "more": 1}', Signed) == Signed(signature="s")
