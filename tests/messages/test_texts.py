"""What patients and staff read: complete, true to the money, and silent on what may not be told."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import product

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinicrefund.case.status import Audience
from clinicrefund.errors import InputRefused
from clinicrefund.messages import Letter, MoneyState, Rendered, Texts, states_for
from clinicrefund.messages.samples import SAMPLE_REASONS, sample_letters
from clinicrefund.messages.sms import fits_one_part
from clinicrefund.model import Channel
from clinicrefund.money import Money
from clinicrefund.reasons import Rule, because

TEXTS = Texts()
EVERY_TEXT = [(audience, state) for audience in Audience for state in states_for(audience)]
LOCALES = ["en-US", "es-US"]
EVERYWHERE = list(product(EVERY_TEXT, LOCALES))


def letter(
    state: MoneyState = MoneyState.SETTLED, audience: Audience = Audience.PATIENT, locale: str = "en-US"
) -> Letter:
    return next(iter(sample_letters(audience, state, locale)))


def whole(rendered: Rendered) -> str:
    return "\n".join([rendered.subject, rendered.text, rendered.html or "", *rendered.values.values()])


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize(("text", "locale"), EVERYWHERE)
def test_every_audience_and_state_has_a_text_on_every_channel(
    text: tuple[Audience, MoneyState], locale: str, channel: Channel
) -> None:
    audience, state = text
    for one in sample_letters(audience, state, locale):
        rendered = TEXTS.render(one, channel)
        assert rendered.subject
        assert one.reference in rendered.text
        assert rendered.locale == locale
        assert "{" not in rendered.subject + rendered.text
        assert (rendered.html is None) == (channel in {Channel.SMS, Channel.TEAM})


@pytest.mark.parametrize(("text", "locale"), EVERYWHERE)
def test_spanish_says_nothing_in_english_words(text: tuple[Audience, MoneyState], locale: str) -> None:
    """Each language has words of its own, so no template was forgotten in the other one."""
    one = attrs.evolve(letter(text[1], text[0], locale), tasks=())
    rendered = TEXTS.render(one, Channel.EMAIL)
    words = set(re.findall(r"\w+", f"{rendered.subject} {rendered.text}".lower()))
    english = words & {"the", "is", "was", "your", "refund", "and"}
    spanish = words & {"el", "la", "reembolso", "se", "del", "su"}
    assert (
        (english, bool(spanish)) == (set(), True)
        if locale == "es-US"
        else (bool(english), spanish) == (True, set())
    )


def test_only_settled_says_that_money_was_given_back() -> None:
    told = {
        (state, locale)
        for (audience, state), locale in EVERYWHERE
        for channel in (Channel.SMS, Channel.TEAM, Channel.EMAIL)
        for one in sample_letters(audience, state, locale)
        if re.search(r"refunded|reembolsad", whole(TEXTS.render(one, channel)), re.IGNORECASE)
    }
    assert told == {(MoneyState.SETTLED, locale) for locale in LOCALES}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("state", [MoneyState.ACCEPTED, MoneyState.PENDING])
def test_money_under_way_is_told_as_not_complete(state: MoneyState, locale: str) -> None:
    for channel in (Channel.SMS, Channel.EMAIL):
        text = TEXTS.render(letter(state, locale=locale), channel).text
        assert "not complete yet" in text or re.search("[Tt]odav[ií]a no se ha completado", text)


@pytest.mark.parametrize("detailed", [True, False])
@pytest.mark.parametrize(
    "link", [None, "https://clinic.example/r/01JQ8Z7M3V", "https://clinic.example/" + "x" * 90]
)
@pytest.mark.parametrize(("text", "locale"), EVERYWHERE)
def test_text_message_fits_one_part_and_ends_with_its_reference(
    text: tuple[Audience, MoneyState], locale: str, link: str | None, *, detailed: bool
) -> None:
    """With a clinic's name of 24 letters and a four-digit amount; the link gives way where there is no room for it."""
    one = attrs.evolve(
        letter(text[1], text[0], locale),
        clinic_name="Harbor Physical Therapy",
        refund=Money.of("1250.00", "USD"),
        link=link,
        detailed=detailed,
    )
    rendered = TEXTS.render(one, Channel.SMS)
    assert fits_one_part(rendered.text), rendered.text
    assert len(rendered.text) <= 160
    assert rendered.text.endswith(" Ref 8KQ2M4XR")
    assert "\n" not in rendered.text


def test_text_message_leads_with_the_clinic_so_that_the_patient_knows_who_writes() -> None:
    assert TEXTS.render(letter(), Channel.SMS).text.startswith("Sample Clinic: ")


def test_longer_text_message_is_kept_whole() -> None:
    name = "The Very Long Name of a Clinic for Physical Therapy and Everything Else That Helps"
    rendered = TEXTS.render(attrs.evolve(letter(MoneyState.FAILED), clinic_name=name), Channel.SMS)
    assert not fits_one_part(rendered.text)
    assert rendered.text.startswith(name)
    assert rendered.text.endswith("Ref 8KQ2M4XR")


DISTINCT = st.text("QXZWKJ", min_size=12, max_size=20)


@settings(max_examples=8, deadline=None)  # each tries every text there is
@given(
    name=DISTINCT,
    service=DISTINCT,
    practitioner=DISTINCT,
    task=DISTINCT,
    clinic=st.text("VGHY", min_size=12, max_size=20),
    starts_at=st.datetimes(datetime(2031, 1, 1), datetime(2049, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_without_an_agreement_no_detail_is_in_any_message(
    name: str, service: str, practitioner: str, task: str, clinic: str, starts_at: datetime
) -> None:
    for (audience, state), locale in EVERYWHERE:
        one = attrs.evolve(
            letter(state, audience, locale),
            detailed=False,
            clinic_name=clinic,
            patient_name=name,
            service=service,
            practitioner=practitioner,
            tasks=(task,),
            starts_at=starts_at,
            reasons=(
                because(Rule.AFTER_START, starts_at=starts_at, cancelled_at=starts_at),
                because(Rule.TIER_BY_TIME, deadline=starts_at, refund=Money.of("77.77", "USD")),
            ),
        )
        for channel in (Channel.SMS, Channel.TEAM, Channel.EMAIL):
            told = whole(TEXTS.render(one, channel))
            assert not [text for text in (name, service, practitioner, task) if text in told]
            assert str(starts_at.year) not in told
            assert "77.77" not in told
            assert (clinic in told) == (audience is Audience.PATIENT)


def test_without_an_agreement_amount_state_case_and_link_are_still_told() -> None:
    one = attrs.evolve(letter(MoneyState.NEEDS_ATTENTION, Audience.TEAM), detailed=False, tasks=("a", "b"))
    text = TEXTS.render(one, Channel.TEAM).text
    for told in (
        "$60.00",
        "case-sample",
        "https://clinic.example/r/case-sample",
        "8KQ2M4XR",
        "Open tasks: 2",
    ):
        assert told in text


def test_mail_to_a_patient_has_the_appointment_the_amounts_the_reasons_and_a_way_to_the_clinic() -> None:
    rendered = TEXTS.render(
        attrs.evolve(letter(), retained=Money.of("12.34", "USD"), reasons=(because(Rule.SERVICE),)),
        Channel.EMAIL,
    )
    for text in (rendered.text, rendered.html or ""):
        for told in (
            "Sam Sample",
            "Sample visit",
            "Dr. Sample",
            "March 3, 2026, 2:30 PM EST",
            "$60.00",
            "$12.34",
        ):
            assert told in text
        for told in ("The rules for this service apply.", "+1 555 867 5310", "desk@clinic.example"):
            assert told in text


def test_patient_is_told_neither_tasks_nor_approvals_nor_a_case_id() -> None:
    for state in states_for(Audience.PATIENT):
        rendered = TEXTS.render(letter(state), Channel.EMAIL)
        assert "Look at the sample." not in whole(rendered)
        assert "approval" not in whole(rendered)
        assert "case-sample" not in rendered.text.replace("https://clinic.example/r/case-sample", "")


@pytest.mark.parametrize("state", [MoneyState.RECEIVED, MoneyState.HELD])
def test_what_is_not_decided_is_no_promise_to_a_patient(state: MoneyState) -> None:
    one = attrs.evolve(letter(state), reasons=())
    for channel in Channel:
        rendered = TEXTS.render(one, channel)
        assert "$60.00" not in rendered.subject + rendered.text + (rendered.html or "")


def test_a_wait_is_told_only_while_it_lasts() -> None:
    wait = tuple(reason for reason in SAMPLE_REASONS if reason.rule is Rule.HOLD)
    told = {
        state: "gets a new time"
        in TEXTS.render(attrs.evolve(letter(state), reasons=wait), Channel.EMAIL).text
        for state in states_for(Audience.PATIENT)
    }
    assert [state for state, is_told in told.items() if is_told] == [MoneyState.HELD]


def test_practitioner_hears_of_the_visit_and_not_of_reasons_or_tasks() -> None:
    text = TEXTS.render(letter(MoneyState.SETTLED, Audience.PRACTITIONER), Channel.EMAIL).text
    assert "Sample visit" in text
    assert "Why this amount" not in text
    assert "Look at the sample." not in text


@pytest.mark.parametrize("locale", LOCALES)
def test_texts_carry_no_marketing(locale: str) -> None:
    """CAN-SPAM counts a mail as transactional only while it does not promote anything."""
    for audience, state in EVERY_TEXT:
        told = whole(TEXTS.render(letter(state, audience, locale), Channel.EMAIL)).lower()
        assert not re.search(r"\b(offer|discount|book now|save|oferta|descuento|promoci|reserve ahora)", told)


HOSTILE = '<script>alert("x")</script>&\'<img src=x onerror=y>'


@pytest.mark.parametrize("audience", Audience)
def test_hostile_names_are_escaped_in_html_and_left_plain_in_text(audience: Audience) -> None:
    one = attrs.evolve(
        letter(MoneyState.SETTLED, audience),
        patient_name=HOSTILE,
        service=HOSTILE,
        practitioner=HOSTILE,
        clinic_name=HOSTILE,
        clinic_phone=HOSTILE,
        clinic_email=HOSTILE,
        tasks=(HOSTILE,),
        link='https://clinic.example/"onclick="x',
    )
    rendered = TEXTS.render(one, Channel.EMAIL)
    assert rendered.html is not None
    assert "<script" not in rendered.html
    assert "<img" not in rendered.html
    assert '"onclick' not in rendered.html
    assert "&lt;script&gt;" in rendered.html
    assert HOSTILE in TEXTS.render(one, Channel.TEAM).text


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\x00", "\x1b", "\u2028", "\u202e", "\ud800", "\x85"])
def test_control_characters_of_a_name_stay_out_of_every_message(mark: str) -> None:
    one = attrs.evolve(
        letter(), patient_name=f"Ann{mark}Bcc: all@example.org", clinic_name=f"Clinic{mark}East"
    )
    for channel in Channel:
        rendered = TEXTS.render(one, channel)
        assert "\n" not in rendered.subject
        assert not re.search(r"^Bcc", rendered.text, re.MULTILINE)
        if mark != "\n":  # a message's own line end
            assert mark not in whole(rendered)
        whole(rendered).encode()


@settings(deadline=None)
@given(name=st.text(), clinic=st.text(), locale=st.text(max_size=12), zone=st.text(max_size=30))
def test_nothing_that_a_booking_holds_can_stop_a_message(
    name: str, clinic: str, locale: str, zone: str
) -> None:
    one = attrs.evolve(letter(), patient_name=name, clinic_name=clinic, locale=locale, zone=zone)
    for channel in (Channel.SMS, Channel.EMAIL):
        rendered = TEXTS.render(one, channel)
        assert "8KQ2M4XR" in rendered.text
        assert rendered.subject.splitlines() == [rendered.subject]


def test_reader_of_another_language_gets_english_with_regional_formats() -> None:
    rendered = TEXTS.render(
        attrs.evolve(letter(locale="fr-CA"), refund=Money.of("1250.00", "CAD")), Channel.EMAIL
    )
    assert rendered.locale == "en-CA"
    assert rendered.subject == "Your refund of $1,250.00 is complete"
    assert "Tuesday, March 3, 2026, 2:30 p.m. EST" in rendered.text
    assert '<html lang="en-CA">' in (rendered.html or "")


def test_values_for_a_vendors_template_hold_the_reference_and_have_the_same_names_always() -> None:
    rich, bare = (
        TEXTS.render(one, Channel.EMAIL).values
        for one in (letter(), list(sample_letters(Audience.PATIENT, MoneyState.SETTLED, "en-US"))[2])
    )
    assert rich["reference"] == "8KQ2M4XR"
    assert rich["refund"] == "$60.00"
    assert rich.keys() == bare.keys()


def test_patient_cannot_be_sent_what_is_for_staff() -> None:
    with pytest.raises(InputRefused, match="for staff alone"):
        letter(MoneyState.APPROVAL_NEEDED)


def test_no_representation_holds_what_is_the_patients() -> None:
    one = attrs.evolve(letter(), patient_name="Quillon", service="Zebrafish", practitioner="Wexford")
    rendered = TEXTS.render(one, Channel.EMAIL)
    for shown in (repr(one), repr(rendered)):
        assert not re.search("Quillon|Zebrafish|Wexford|2026", shown)


def test_importing_messages_waits_with_templates_and_locale_facts() -> None:
    program = (
        "import sys, clinicrefund.messages; "
        "print([name for name in ('jinja2', 'babel', 'httpx') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
