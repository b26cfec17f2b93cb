"""A host's own templates: they win, they may add a language, and a broken one is refused before any work."""

from pathlib import Path

import attrs
import pytest

from clinicrefund.case.status import Audience
from clinicrefund.errors import ConfigurationError
from clinicrefund.messages import Letter, MoneyState, Texts
from clinicrefund.messages.samples import sample_letters
from clinicrefund.model import Channel

WORDS_FR = """
{% set ref = "Réf." %}
{% set label = {"refund": "Remboursement", "retained": "Retenu", "service": "Rendez-vous", "practitioner": "Avec",
  "when": "Prévu", "patient": "Patient", "case": "Dossier", "open_tasks": "Tâches", "reasons": "Motifs",
  "tasks": "À faire"} %}
{% set details = "Détails" %}{% set questions = "Des questions" %}
{% macro greeting(name) %}Bonjour{% endmacro %}
{% macro summary(audience) %}En bref{% endmacro %}
"""
TEXT_FR = """{% extends layout %}
{% block subject %}Votre remboursement de {{ refund }}{% endblock %}
{% block sms %}Nous vous avons rendu {{ refund }}.{% endblock %}
{% block lead %}Nous vous avons rendu {{ refund }}.{% endblock %}
"""


def write(folder: Path, name: str, content: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


def letter(
    state: MoneyState = MoneyState.SETTLED, audience: Audience = Audience.PATIENT, locale: str = "en-US"
) -> Letter:
    return next(iter(sample_letters(audience, state, locale)))


def test_file_of_the_same_name_replaces_one_text_and_no_other(tmp_path: Path) -> None:
    write(
        tmp_path,
        "en/patient/settled.j2",
        "{% extends layout %}{% block subject %}Ours{% endblock %}{% block sms %}Paid {{ refund }} back.{% endblock %}"
        "{% block lead %}Dear {{ patient }}.{% endblock %}",
    )
    host = Texts(tmp_path)
    assert host.render(letter(), Channel.SMS).text.startswith("Sample Clinic: Paid $60.00 back.")
    assert host.render(letter(), Channel.EMAIL).subject == "Ours"
    for untouched in (letter(MoneyState.PENDING), letter(locale="es-US"), letter(audience=Audience.TEAM)):
        assert host.render(untouched, Channel.EMAIL) == Texts().render(untouched, Channel.EMAIL)


def test_override_can_change_one_block_of_ours(tmp_path: Path) -> None:
    write(
        tmp_path,
        "en/patient/settled.j2",
        '{% extends "clinicrefund/en/patient/settled.j2" %}{% block next %}{{ super() }} Thank you.{% endblock %}',
    )
    text, ours = (one.render(letter(), Channel.EMAIL).text for one in (Texts(tmp_path), Texts()))
    assert text.replace(" Thank you.", "") == ours


def test_layout_can_be_replaced_and_includes_a_part_of_the_hosts_own(tmp_path: Path) -> None:
    write(tmp_path, "layout/email.html.j2", '<p>{% block lead %}{% endblock %}</p>{% include "_foot.j2" %}')
    write(tmp_path, "_foot.j2", "<i>{{ clinic }}</i>")
    write(tmp_path, "README.md", "not a template")
    one = attrs.evolve(letter(), clinic_name="A & B")
    assert (Texts(tmp_path).render(one, Channel.EMAIL).html or "").endswith("<i>A &amp; B</i>\n")


def test_audience_of_staff_can_have_words_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "en/finance/settled.j2", "{% extends layout %}{% block subject %}Book it{% endblock %}")
    host = Texts(tmp_path)
    assert host.render(letter(audience=Audience.FINANCE), Channel.TEAM).subject == "Book it"
    assert host.render(letter(audience=Audience.TEAM), Channel.TEAM).subject == "Refund of $60.00 settled"


def test_text_of_all_staff_serves_every_audience_but_the_patient(tmp_path: Path) -> None:
    write(tmp_path, "en/staff/settled.j2", "{% extends layout %}{% block subject %}Done{% endblock %}")
    host = Texts(tmp_path)
    subjects = {one: host.render(letter(audience=one), Channel.TEAM).subject == "Done" for one in Audience}
    assert subjects == {one: one is not Audience.PATIENT for one in Audience}


def test_host_adds_a_language_and_what_it_lacks_is_whole_english(tmp_path: Path) -> None:
    write(tmp_path, "fr/words.j2", WORDS_FR)
    write(tmp_path, "fr/patient/settled.j2", TEXT_FR)
    host = Texts(tmp_path)
    french = host.render(letter(locale="fr-CA"), Channel.EMAIL)
    assert french.locale == "fr-CA"
    assert french.subject == "Votre remboursement de 60,00 $ US"
    assert "mardi 3 mars 2026" in french.text
    assert "The rules" not in french.text  # no reasons rather than reasons in another language
    missing = host.render(letter(MoneyState.PENDING, locale="fr-CA"), Channel.EMAIL)
    assert missing.locale == "en-CA"
    assert "Remboursement" not in missing.text
    assert "Tuesday, March 3, 2026" in missing.text


def test_host_gives_reasons_in_its_language(tmp_path: Path) -> None:
    write(tmp_path, "fr/words.j2", WORDS_FR)
    write(tmp_path, "fr/patient/settled.j2", TEXT_FR)
    write(tmp_path, "fr/reason.j2", '{% if rule == "no_show" %}Absence : {{ values.refund }}{% endif %}')
    assert "- Absence : " in Texts(tmp_path).render(letter(locale="fr-FR"), Channel.EMAIL).text


def test_host_rewords_one_reason_of_ours(tmp_path: Path) -> None:
    write(
        tmp_path,
        "en/reason.j2",
        '{% if rule == "service" %}Special rules.{% else %}{{ sentence }}{% endif %}',
    )
    text = Texts(tmp_path).render(letter(), Channel.EMAIL).text
    assert "- Special rules.\n" in text
    assert "- The rules for first visits apply.\n" in text


def test_region_has_words_of_its_own_and_shares_the_rest(tmp_path: Path) -> None:
    write(tmp_path, "es-MX/patient/settled.j2", "{% extends layout %}{% block subject %}Listo{% endblock %}")
    host = Texts(tmp_path)
    assert host.render(letter(locale="es-MX"), Channel.EMAIL).subject == "Listo"
    assert "Reembolso: USD 60.00" in host.render(letter(locale="es-MX"), Channel.EMAIL).text
    assert host.render(letter(locale="es-US"), Channel.EMAIL).subject != "Listo"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{% block sms %}{{ refund }", r"line 2"),
        ("\n{% block sms %}{{ amount_due }}{% endblock %}", r"line 3: 'amount_due' is not a variable"),
        ("{% block sms %}{% if refund == '1' %}{{ nmae }}{% endif %}{% endblock %}", r"line 2: 'nmae'"),
        ("{% block sms %}{{ ''.__class__.__mro__ }}{% endblock %}", r"line 2: .*unsafe"),
        ("{% block sms %}{{ refund.format.__globals__ }}{% endblock %}", r"line 2: .*unsafe"),
        ("{% block sms %}{{ reasons.append(1) }}{% endblock %}", r"line 2: .*unsafe"),
        ("{% block lead %}{{ refund + 1 }}{% endblock %}", r"line 2: "),
        ("{% block lead %}{{ refund.cents }}{% endblock %}", r"line 2: .*has no attribute 'cents'"),
        ("{% block lead %}{{ 1 // 0 }}{% endblock %}", r"line 2: "),
        ("{% block lead %}{{ refund | cents }}{% endblock %}", r"line 2: No filter named 'cents'"),
        ("{% include '_gone.j2' %}{% block lead %}{% include '_gone.j2' %}{% endblock %}", r"_gone\.j2"),
        ("{% import 'nothing.j2' as gone %}", r"line 2: .*nothing\.j2"),
    ],
)
def test_broken_override_is_refused_at_construction_with_its_place(
    tmp_path: Path, content: str, said: str
) -> None:
    write(tmp_path, "en/patient/settled.j2", "{% extends layout %}\n" + content)
    with pytest.raises(ConfigurationError, match=rf"en/patient/settled\.j2.*{said}"):
        Texts(tmp_path)


def test_broken_part_is_refused_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, "layout/sms.j2", '{% include "_foot.j2" %}')
    write(tmp_path, "_foot.j2", "\n\n{{ ''.__class__.__mro__ }}")
    with pytest.raises(ConfigurationError, match=r"_foot\.j2, line 3"):
        Texts(tmp_path)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_part.j2").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"_part\.j2"):
        Texts(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "settled.j2",
        "en/settled.j2",
        "en/patient/setled.j2",
        "en/patient/approval_needed.j2",
        "en/patients/settled.j2",
        "layout/letter.j2",
        "en/patient/settled.sms.j2",
    ],
)
def test_template_that_would_never_be_used_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "")
    with pytest.raises(ConfigurationError, match="would never be used"):
        Texts(tmp_path)


def test_language_that_nobody_speaks_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "english/patient/settled.j2", TEXT_FR)
    with pytest.raises(ConfigurationError, match="'english' is not a language"):
        Texts(tmp_path)


def test_language_without_its_words_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "fr/patient/settled.j2", TEXT_FR)
    with pytest.raises(ConfigurationError, match=r"fr/words\.j2"):
        Texts(tmp_path)


def test_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        Texts(tmp_path / "gone")


def test_no_template_of_a_host_can_tell_what_the_letter_may_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        "en/patient/settled.j2",
        "{% extends layout %}"
        "{% block sms %}[{{ patient }}{{ service }}{{ practitioner }}{{ when }}{{ day }}]{% endblock %}",
    )
    host = Texts(tmp_path)
    assert "[Sam Sample" in host.render(letter(), Channel.SMS).text
    assert "[]" in host.render(attrs.evolve(letter(), detailed=False), Channel.SMS).text


def test_override_that_fails_on_a_real_letter_says_where_and_nothing_of_the_patient(tmp_path: Path) -> None:
    """What no trial can reach still ends in an error that names the place, without any value."""
    write(
        tmp_path,
        "en/patient/settled.j2",
        '{% extends layout %}\n{% block sms %}{% if patient == "Quillon" %}{{ {}[patient] }}{% endif %}{% endblock %}',
    )
    host = Texts(tmp_path)
    with pytest.raises(ConfigurationError, match=r"en/patient/settled\.j2, line 2: UndefinedError") as caught:
        host.render(attrs.evolve(letter(), patient_name="Quillon"), Channel.SMS)
    assert "Quillon" not in str(caught.value)
