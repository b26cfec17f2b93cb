"""What was understood of a message, and why."""

from enum import Enum, StrEnum, unique

import attrs


class Meaning(Enum):
    """All that a message can mean here. ``UNSURE`` is the default of everything that nobody foresaw."""

    CANCEL = "cancel"
    NOT_A_CANCELLATION = "not_a_cancellation"
    UNSURE = "unsure"
    OPT_OUT = "opt_out"


@unique
class Sign(StrEnum):
    """What a phrase tells. The first two ask; of the others each is a doubt, unless it says that it is none."""

    REQUEST = "request"  # asks to cancel one's own visit
    ABSENCE = "absence"  # says that one will not come to one's visit
    OPT_OUT = "opt_out"  # nothing but a word that ends messages
    # Told of a cancellation or of something else, and no request by itself:
    NEGATED = "negated"  # must not be cancelled
    OTHER_OBJECT = "other_object"  # a subscription, a prescription, a card
    POLICY = "policy"  # asks about fees and terms
    PAST = "past"  # was cancelled, or tells of another time
    MOVING = "moving"  # another time
    EVERYDAY = "everyday"  # confirms, thanks, asks for the way
    # In doubt, whatever else is said:
    QUESTION = "question"
    CONDITION = "condition"
    MAYBE = "maybe"
    RETRACTED = "retracted"
    SARCASM = "sarcasm"
    SOMEBODY_ELSE = "somebody_else"
    SEVERAL = "several"
    REPORTED = "reported"
    QUOTED = "quoted"  # only other people's words
    TROUBLE = "trouble"  # ill, late, cannot come: says nothing of the visit
    UNKNOWN_USE = "unknown_use"  # a word of cancelling in no use that is known
    NOT_YET = "not_yet"  # something must come first: a call, an answer
    UNKNOWN_BESIDE = "unknown_beside"  # beside a request stands what nobody foresaw
    NOTHING_KNOWN = "nothing_known"
    TOO_LONG = "too_long"


@attrs.frozen
class Found:
    """A rule that had a part in the reading, and the phrase of the clinic's list that it went by.

    ``phrase`` comes from the rules, never from the message; it can still tell what the message is about (``fever``).
    """

    sign: Sign = attrs.field(converter=Sign)
    phrase: str = ""

    def __str__(self) -> str:
        return f"{self.sign.value} ({self.phrase})" if self.phrase else self.sign.value


@attrs.frozen(kw_only=True)
class Reading:
    """What a message means, with the rules that fired. It does not mean that anything was, or will be, cancelled.

    ``rules`` is the version of the rules that read it.
    """

    meaning: Meaning
    reasons: tuple[Found, ...]
    rules: str

    @property
    def asks(self) -> bool:
        """Whether something in it asks to cancel, be it in doubt, or a carrier's word for ending messages."""
        return any(found.sign in (Sign.REQUEST, Sign.ABSENCE) for found in self.reasons)

    @property
    def why(self) -> str:
        """The reasons in one line: ``request (please cancel), moving (reschedule)``."""
        return ", ".join(str(found) for found in self.reasons)
