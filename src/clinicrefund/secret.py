"""Secret: text that does not show itself in a repr, a log line or a traceback."""

from typing import final


@final
class Secret:
    """A key, token or password. ``repr`` and ``str`` hide it; `reveal` is the one way to read it.

    >>> Secret("sk_test_x")
    Secret('***')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, /) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself. Never put it into a message, a log or a URL."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def secret(value: str | Secret, /) -> Secret:
    """Converter of config classes: takes text or a `Secret`."""
    return value if isinstance(value, Secret) else Secret(value)


def optional_secret(value: str | Secret | None, /) -> Secret | None:
    """As `secret`, where the setting may be left out."""
    return None if value is None else secret(value)
