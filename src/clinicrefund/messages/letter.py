"""What a text may need, and what comes out of it."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.checks import aware, filled
from clinicrefund.errors import InputRefused
from clinicrefund.messages.state import states_for
from clinicrefund.money import Money
from clinicrefund.reasons import Reason


@attrs.frozen(kw_only=True)
class Letter:
    """Everything that one message may say, before it is worded.

    ``link`` is finished: the patient's for a patient, the staff's for staff. ``reference`` is `short_reference` of the
    message's step. ``locale`` (``es-US``) and ``zone`` (IANA) are the reader's. ``refund`` is what goes back, in
    whatever ``state`` that is; ``retained`` is what the clinic keeps. ``tasks`` are texts for staff.

    ``detailed`` is False for a platform without a signed business associate agreement. Then only amounts, state, case
    id, reference and link are told, and to the patient the clinic's name and how to reach it; every other field reads
    as empty, in the host's own templates too.
    """

    state: MoneyState
    audience: Audience
    detailed: bool
    locale: str
    zone: str
    case_id: str = attrs.field(validator=filled)
    reference: str = attrs.field(validator=filled)
    clinic_name: str
    clinic_phone: str | None = None
    clinic_email: str | None = None
    link: str | None = None
    refund: Money | None = None
    retained: Money | None = None
    reasons: tuple[Reason, ...] = attrs.field(default=(), repr=False)
    starts_at: datetime | None = attrs.field(
        default=None, validator=attrs.validators.optional(aware), repr=False
    )
    service: str | None = attrs.field(default=None, repr=False)
    practitioner: str | None = attrs.field(default=None, repr=False)
    patient_name: str | None = attrs.field(default=None, repr=False)
    tasks: tuple[str, ...] = attrs.field(default=(), repr=False)

    def __attrs_post_init__(self) -> None:
        if self.state not in states_for(self.audience):
            raise InputRefused(
                f"there is no text for {self.audience.value} in state {self.state.value}, which is for staff alone; "
                "tell a patient what states_for(Audience.PATIENT) lists"
            )


@attrs.frozen(kw_only=True)
class Rendered:
    """A finished message.

    ``text`` is plain and not escaped for any channel; ``html`` is a whole, escaped document, None where the channel
    has no use for it. ``locale`` is the one that was used, like ``en-CA``. ``values`` are the same facts, already
    formatted, for templates that live at a vendor.
    """

    subject: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    html: str | None = attrs.field(repr=False)
    locale: str
    values: Mapping[str, str] = attrs.field(repr=False)
