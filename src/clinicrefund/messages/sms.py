"""How long a text message is, and how to keep it in the alphabet that costs least.

A message is one part up to 160 characters of the GSM 7-bit alphabet (3GPP TS 23.038); one character outside it, and
the whole message is sent as UCS-2, 70 a part. Parts are billed, and some vendors cut the last ones off in silence.
"""

import unicodedata

SINGLE_PART = 160
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("^{}\\[~]|€")
_GSM_ALL = _GSM | _GSM_TWICE
# Typographic quotes, dashes and the ellipsis, which word processors put into names.
_PLAIN = str.maketrans(
    {
        "\u2019": "'",
        "\u2018": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
    }
)


def plain_letters(text: str, /) -> str:
    """The text in the GSM alphabet where only accents stand in the way (á, í, ó, ú are not in it), else unchanged.

    Spanish stays readable without those four; a name in another script is never mutilated.
    """
    if _is_gsm(text):
        return text
    candidate = "".join(
        letter if _is_gsm(letter) else _without_accent(letter) for letter in text.translate(_PLAIN)
    )
    return candidate if _is_gsm(candidate) else text


def fits_one_part(text: str, /) -> bool:
    """Whether the text goes out as one part."""
    if not _is_gsm(text):
        return len(text.encode("utf-16-be")) <= 140
    return len(text) + sum(letter in _GSM_TWICE for letter in text) <= SINGLE_PART


def _is_gsm(text: str) -> bool:
    return _GSM_ALL.issuperset(text)


def _without_accent(letter: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFD", letter) if not unicodedata.combining(part))
