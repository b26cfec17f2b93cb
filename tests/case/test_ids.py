"""Names are derived, stable for ever, and never run together."""

import re

from hypothesis import given
from hypothesis import strategies as st

from clinicrefund.case import ids

WORDS = st.text(max_size=30)
NAME = re.compile(r"[a-z0-9-]{1,40}")


def test_names_are_the_same_in_every_version_or_old_journals_could_not_be_read() -> None:
    case = ids.case_id("clinic-1", "A-1", 1)
    step = ids.step_id(case, "refund:stripe:pay-1:1")
    assert case == "cr-a493bd67c93d5966"
    assert ids.question_id("clinic-1", "d-1") == "cr-172516dd8ac94555"
    assert step == "cr-a493bd67c93d5966-fa8ac8ac"
    assert ids.key(step, 1) == f"{step}-1"
    assert ids.case_stream(case) == f"case/{case}"
    assert ids.delivery_stream("clinic-1", "d-1") == "delivery/751a527b831853065a655fea73ede05d"
    assert ids.alias_stream("clinic-1", "stripe", "pi_1") == "alias/7f8a0c516fea6cfbe30fee9e127c8c7b"
    assert ids.payment_stream("stripe", "acct_1", "ch_1") == "payment/03f878d234d68937d38358904c9393fa"
    assert ids.refund_stream("stripe", "re_1") == "refund/b5c8448b3b354d31b20060cdacd78cd1"
    assert ids.message_stream("twilio", "SM1") == "message/092a64927c5c4795de88e652785a705f"
    assert ids.opt_out_stream("sms", "+15550000001") == "opt-out/220b623bb6fa01a313d00f98810959eb"
    assert ids.feed_stream("clinic-1", "stripe") == "feed/2663c540ac942ed1895cf977915a150e"


@given(clinic=WORDS, appointment=WORDS, episode=st.integers(0, 99), name=WORDS, attempt=st.integers(1, 999))
def test_what_a_vendor_stores_is_short_and_plain(
    clinic: str, appointment: str, episode: int, name: str, attempt: int
) -> None:
    case = ids.case_id(clinic, appointment, episode)
    step = ids.step_id(case, name)
    for one in (case, ids.question_id(clinic, appointment), step, ids.key(step, attempt)):
        assert NAME.fullmatch(one)
    assert ids.case_of_step(step) == case


@given(left=st.tuples(WORDS, WORDS, st.integers(1, 9)), right=st.tuples(WORDS, WORDS, st.integers(1, 9)))
def test_two_visits_never_share_a_case_however_their_names_would_join(
    left: tuple[str, str, int], right: tuple[str, str, int]
) -> None:
    assert (ids.case_id(*left) == ids.case_id(*right)) == (left == right)


def test_parts_that_join_to_one_text_have_two_names() -> None:
    assert ids.case_id("a", "bc", 1) != ids.case_id("ab", "c", 1)
    assert ids.payment_stream("a", "bc", "d") != ids.payment_stream("ab", "c", "d")
    assert ids.alias_stream("", "a", "b") != ids.alias_stream("a", "", "b")


def test_two_attempts_of_two_steps_never_share_a_key() -> None:
    case = ids.case_id("", "A-1", 1)
    steps = [ids.step_id(case, f"step {n}") for n in range(50)]
    keys = {ids.key(step, attempt) for step in steps for attempt in range(1, 30)}
    assert len(keys) == 50 * 29


def test_an_opted_out_address_is_found_whatever_its_case_and_never_told_by_its_stream() -> None:
    stream = ids.opt_out_stream("email", " Sam@Example.com ")
    assert stream == ids.opt_out_stream("email", "sam@example.com")
    assert "sam" not in stream
    assert stream != ids.opt_out_stream("sms", "sam@example.com")
