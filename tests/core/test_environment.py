"""What a line of the environment says, where it is more than a word."""

import pytest

from clinicrefund.case.status import MoneyState
from clinicrefund.environment import listed, money_states, needed, paired, whole
from clinicrefund.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "parts"), [("", ()), (" , ", ()), ("a", ("a",)), (" a ,b,, c d ", ("a", "b", "c d"))]
)
def test_a_list_is_its_parts_without_blanks_around_them(text: str, parts: tuple[str, ...]) -> None:
    assert listed(text) == parts


def test_pairs_are_names_and_values() -> None:
    assert paired("") == {}
    assert paired("32=refund, 33 = day,34=a=b") == {"32": "refund", "33": "day", "34": "a=b"}


@pytest.mark.parametrize("text", ["refund", "=refund", "32=", "32=refund,33"])
def test_half_a_pair_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="name=value"):
        paired(text)


@pytest.mark.parametrize(("text", "number"), [("", 6), (" ", 6), ("0", 0), (" 8 ", 8)])
def test_a_number_is_whole_or_the_usual_one(text: str, number: int) -> None:
    assert whole({"PARTS": text}, "PARTS", 6) == number
    assert whole({}, "PARTS", 6) == 6


@pytest.mark.parametrize("text", ["six", "-1", "1.5", "²", "٣"])
def test_what_is_no_number_is_refused_by_the_variables_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PARTS"):
        whole({"PARTS": text}, "PARTS", 6)


def test_states_are_named_by_their_words_or_are_what_they_are() -> None:
    assert money_states(["settled", MoneyState.NOTHING_DUE]) == {MoneyState.SETTLED, MoneyState.NOTHING_DUE}
    with pytest.raises(ConfigurationError, match="'paid' is no state of the money; there are accepted"):
        money_states(["paid"])


def test_what_an_account_needs_is_read_by_the_names_of_its_fields() -> None:
    env = {"ACME_KEY": "k", "ACME_SHOP": "s", "ACME_COLOR": "red"}
    assert needed(env, "ACME", ("key", "shop")) == {"key": "k", "shop": "s"}


@pytest.mark.parametrize("env", [{}, {"ACME_SHOP": "s"}, {"ACME_KEY": "", "ACME_SHOP": "s"}])
def test_an_account_without_the_first_is_not_wanted(env: dict[str, str]) -> None:
    assert needed(env, "ACME", ("key", "shop")) is None


def test_half_an_account_is_refused_by_the_names_of_its_variables() -> None:
    with pytest.raises(
        ConfigurationError, match=r"with ACME_KEY these are needed too: ACME_SHOP, ACME_HOST$"
    ):
        needed({"ACME_KEY": "k", "ACME_SHOP": ""}, "ACME", ("key", "shop", "host"))
