"""How a message in which a patient may ask to cancel is understood."""

import typing

from clinicrefund.faces import loading as _loading

if typing.TYPE_CHECKING:
    from clinicrefund.requests.english import ENGLISH
    from clinicrefund.requests.phrases import Phrases
    from clinicrefund.requests.reading import Found, Meaning, Reading, Sign
    from clinicrefund.requests.rules import CancellationRules
    from clinicrefund.requests.spanish import SPANISH

__all__ = ["ENGLISH", "SPANISH", "CancellationRules", "Found", "Meaning", "Phrases", "Reading", "Sign"]

_HOMES: typing.Final = {
    "english": "ENGLISH",
    "phrases": "Phrases",
    "reading": "Found Meaning Reading Sign",
    "rules": "CancellationRules",
    "spanish": "SPANISH",
}
__getattr__ = _loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
