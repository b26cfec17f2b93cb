"""How adapters read the environment: what an account needs, and lists, pairs, numbers, states of money."""

from collections.abc import Iterable, Mapping, Sequence

from clinicrefund.case.status import MoneyState
from clinicrefund.errors import ConfigurationError


def needed(env: Mapping[str, str], beginning: str, names: Sequence[str], /) -> dict[str, str] | None:
    """What an account cannot be without, by the fields of its config: ``XERO_TENANT`` is ``tenant``, after ``XERO``.

    None without the first, which says that the account is wanted. `ConfigurationError`, naming the variables, where the
    first is there and others are missing or empty.
    """
    variables = {name: f"{beginning}_{name.upper()}" for name in names}
    values = {name: env.get(variable, "") for name, variable in variables.items()}
    if not values[names[0]]:
        return None
    if missing := [variables[name] for name, value in values.items() if not value]:
        raise ConfigurationError(f"with {variables[names[0]]} these are needed too: {', '.join(missing)}")
    return values


def listed(text: str, /) -> Sequence[str]:
    """``a, b`` as its parts, without blanks around them and without empty ones."""
    return tuple(part for piece in text.split(",") if (part := piece.strip()))


def paired(text: str, /) -> Mapping[str, str]:
    """``a=1, b=2`` as a mapping. `ConfigurationError` for a part without ``=``, or with nothing on one side of it."""
    pairs = [part.partition("=") for part in listed(text)]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise ConfigurationError(
            "a list of pairs is written name=value,name=value; one of its parts is no pair"
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def whole(env: Mapping[str, str], name: str, default: int, /) -> int:
    """A whole number of zero or more; the default where the variable is empty or missing."""
    text = env.get(name, "").strip()
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigurationError(f"{name} is not a whole number; write digits alone")
    return int(text) if text else default


def money_states(values: Iterable[MoneyState | str], /) -> frozenset[MoneyState]:
    """Converter of config classes: states of the money, by their words or as they are."""
    known = {state.value: state for state in MoneyState}
    words = [value.value if isinstance(value, MoneyState) else value for value in values]
    for word in words:
        if word not in known:
            raise ConfigurationError(
                f"{word!r} is no state of the money; there are {', '.join(sorted(known))}"
            )
    return frozenset(known[word] for word in words)
