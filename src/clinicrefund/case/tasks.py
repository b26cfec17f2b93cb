"""What a person is asked, in words for staff, and what can be answered. No patient data in any of it."""

from collections.abc import Mapping

from clinicrefund.case.events import TaskKind
from clinicrefund.case.status import Choice

_TEXTS = {
    TaskKind.WHICH_BOOKING: "{found} bookings fit this {trigger}. Name the appointment it means, or say that it is not a cancellation.",
    TaskKind.IS_IT_A_CANCELLATION: "A patient wrote by {channel}: “{words}”.{why} Is it a cancellation {of}?",
    TaskKind.UNREADABLE: "A verified delivery from {source} could not be read ({why}). It is kept in the journal; look the matter up at {source}.",
    TaskKind.OUTSIDE_REFUND: "{amount} went back on a payment through {gateway} outside of any case (refund {reference}). Check whether it was meant, and whether a case should have covered it.",
    TaskKind.CHANGED_SINCE: "{via} no longer shows the visit as the cancellation knew it ({found}). Is it still cancelled?",
    TaskKind.REINSTATED_AFTER_REFUND: "The visit stands again, but money has already gone back for it. Agree with the patient how it is paid.",
    TaskKind.MOVED_AFTER_REFUND: "The visit was moved, but money has already gone back for it. Agree with the patient how the new one is paid.",
    TaskKind.WOULD_LOWER: "By what is known now the refund would be {amount}, less than what has already gone back. Nothing was taken back.",
    TaskKind.DISPUTED_AFTER_REFUND: "The payer's bank disputes a payment ({reference}, {amount}) on which money has gone back: the patient may be paid twice. Answer the dispute with the refund's reference.",
    TaskKind.REFUSED: "{via} refused the {effect} ({reason}, code {code}).",
    TaskKind.OUTCOME_UNKNOWN: "It is not known whether the {effect} through {via} happened, and asking gave no proof. Look there for {key}: did it happen?",
    TaskKind.BYTES_CHANGED: "The {effect} through {via} was started in another form ({what}) and may have happened; it was not sent again. Look there for {key}: did it happen?",
    TaskKind.SHORTAGE: "{via} has {left} left on this payment, and {owed} is owed. Nothing was sent.",
    TaskKind.DISPUTED: "The payment at {via} is disputed by the payer's bank, so nothing was sent. Wait for the dispute's end, or settle it there.",
    TaskKind.BY_HAND: "{what}",
    TaskKind.CREDENTIALS: "{via} does not accept our credentials for the {effect}. Change them, then try again.",
    TaskKind.UNAVAILABLE: "{via} cannot be reached for the {effect} since {since}.",
    TaskKind.FAILED_LATE: "The refund of {amount} through {via} failed after it had been accepted ({reason}, code {code}); the money is back at the clinic. Send it again, or pay the patient by another way.",
    TaskKind.NOT_TOLD: "The patient could not be told that the refund is {state}: no channel reaches them. Tell them by hand.",
    TaskKind.CANNOT_DECIDE: "The policy cannot decide on this booking: {why}",
}  # fmt: skip

_UNSAID = {"why": "", "of": "of this booking"}

PRIVATE = frozenset({TaskKind.IS_IT_A_CANCELLATION})
"""Tasks whose text holds a patient's words: they are told only where the clinic's disclosure allows it."""

_AGAIN = (Choice.TRY_AGAIN, Choice.DONE_BY_HAND, Choice.SKIP)
_NOTED = (Choice.DONE_BY_HAND, Choice.SKIP)
_DID_IT = (Choice.HAPPENED, Choice.DID_NOT_HAPPEN)

CHOICES: Mapping[TaskKind, tuple[Choice, ...]] = {
    TaskKind.WHICH_BOOKING: (Choice.THIS_BOOKING, Choice.NOT_A_CANCELLATION),
    TaskKind.IS_IT_A_CANCELLATION: (Choice.THIS_BOOKING, Choice.NOT_A_CANCELLATION),
    TaskKind.UNREADABLE: _NOTED,
    TaskKind.OUTSIDE_REFUND: _AGAIN,
    TaskKind.CHANGED_SINCE: (Choice.THIS_BOOKING, Choice.TRY_AGAIN, Choice.NOT_A_CANCELLATION),
    TaskKind.REINSTATED_AFTER_REFUND: _NOTED,
    TaskKind.MOVED_AFTER_REFUND: _NOTED,
    TaskKind.WOULD_LOWER: _NOTED,
    TaskKind.DISPUTED_AFTER_REFUND: _NOTED,
    TaskKind.REFUSED: _AGAIN,
    TaskKind.OUTCOME_UNKNOWN: (*_DID_IT, Choice.TRY_AGAIN),
    TaskKind.BYTES_CHANGED: _DID_IT,
    TaskKind.SHORTAGE: _AGAIN,
    TaskKind.DISPUTED: _AGAIN,
    TaskKind.BY_HAND: _NOTED,
    TaskKind.CREDENTIALS: _AGAIN,
    TaskKind.UNAVAILABLE: _AGAIN,
    TaskKind.FAILED_LATE: _AGAIN,
    TaskKind.NOT_TOLD: _NOTED,
    TaskKind.CANNOT_DECIDE: (Choice.TRY_AGAIN, Choice.SKIP),
}


IN_DOUBT: Mapping[TaskKind, tuple[Choice, ...]] = dict.fromkeys(
    (TaskKind.CREDENTIALS, TaskKind.UNAVAILABLE, TaskKind.DISPUTED, TaskKind.OUTCOME_UNKNOWN),
    (*_DID_IT, Choice.TRY_AGAIN),
) | {
    TaskKind.BYTES_CHANGED: _DID_IT,
    TaskKind.CHANGED_SINCE: (Choice.THIS_BOOKING, Choice.TRY_AGAIN, *_DID_IT),
}
"""For a refund that may have left: nobody can decide to leave it, or to pay it otherwise, before that is known."""


def task_text(kind: TaskKind, values: Mapping[str, str], /) -> str:
    """The task in a sentence or two, in English: it is for staff."""
    return _TEXTS[kind].format_map({**_UNSAID, **values})


def public_text(kind: TaskKind, values: Mapping[str, str], /) -> str:
    """The same without a patient's words: for what is printed, or told where no agreement is on record."""
    return task_text(kind, {**values, "words": "…", "why": ""} if kind in PRIVATE else values)
