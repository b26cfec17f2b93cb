"""How a message in which a patient may ask to cancel is understood."""

from clinicrefund.requests.english import ENGLISH
from clinicrefund.requests.phrases import Phrases
from clinicrefund.requests.reading import Found, Meaning, Reading, Sign
from clinicrefund.requests.rules import CancellationRules
from clinicrefund.requests.spanish import SPANISH

__all__ = ["ENGLISH", "SPANISH", "CancellationRules", "Found", "Meaning", "Phrases", "Reading", "Sign"]
