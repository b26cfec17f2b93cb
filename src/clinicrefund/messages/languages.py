"""Which language and which regional formats a reader gets."""

from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel import Locale

FALLBACK = "en"


def locale_for(wanted: str, spoken: Container[str], /) -> tuple[str, "Locale"]:
    """The best language of those spoken, and the locale whose formats go with it.

    A region's own language (``es-MX``) comes before the plain one (``es``), and English is the last. English for a
    reader elsewhere keeps that region's formats, so words and dates are of one language: ``fr-CA`` becomes ``en-CA``.
    A locale that nobody knows reads as US English; it never stops a message.
    """
    from babel import Locale, UnknownLocaleError

    locale = _known(wanted)
    if locale is None:
        return FALLBACK, Locale(FALLBACK, "US")
    for language in (f"{locale.language}-{locale.territory}", locale.language):
        if language in spoken:
            return language, locale
    try:
        return FALLBACK, Locale(FALLBACK, locale.territory or "US")
    except UnknownLocaleError:
        return FALLBACK, Locale(FALLBACK, "US")


@lru_cache(maxsize=1024)
def _known(name: str) -> "Locale | None":
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(name.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return None
