"""What patients and staff read: texts as templates, by audience and by the money's real state."""

from clinicrefund.case.status import MoneyState
from clinicrefund.messages.letter import Letter, Rendered
from clinicrefund.messages.reference import short_reference
from clinicrefund.messages.sentences import describe_decision, sentence
from clinicrefund.messages.state import states_for
from clinicrefund.messages.texts import Texts

__all__ = [
    "Letter",
    "MoneyState",
    "Rendered",
    "Texts",
    "describe_decision",
    "sentence",
    "short_reference",
    "states_for",
]
