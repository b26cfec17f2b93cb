"""Made-up letters, by which a host's templates are tried out before any real one is due."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs

from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.messages.letter import Letter
from clinicrefund.money import Money, Percent
from clinicrefund.reasons import Reason, Rule, because

_STARTS = datetime(2026, 3, 3, 19, 30, tzinfo=UTC)
_HALF, _WHOLE = Money.of("60.00", "USD"), Money.of("120.00", "USD")
SAMPLE_REASONS: tuple[Reason, ...] = (
    because(Rule.TOLD_BY, source="scheduler", cancelled_at=_STARTS),
    because(Rule.REQUEST_READ, read="request (please cancel)", rules="0123456789ab"),
    because(Rule.FIRST_VISIT),
    because(Rule.SERVICE),
    because(Rule.CANCELLED_BY, role="clinic", refund=Percent(100)),
    because(
        Rule.GRACE_PERIOD,
        hours=timedelta(hours=1),
        booked_at=_STARTS,
        cancelled_at=_STARTS,
        refund=Percent(100),
    ),
    because(Rule.BOOKED_AT_UNKNOWN, hours=timedelta(hours=2)),
    because(
        Rule.NOTICE,
        hours=timedelta(hours=49.5),
        starts_at=_STARTS,
        cancelled_at=_STARTS - timedelta(hours=49.5),
    ),
    because(Rule.AFTER_START, starts_at=_STARTS, cancelled_at=_STARTS),
    because(
        Rule.TIER_HOURS,
        hours=timedelta(hours=24),
        deadline=_STARTS - timedelta(hours=24),
        refund=Percent("33.5"),
    ),
    because(Rule.TIER_BUSINESS_DAYS, days=1, deadline=_STARTS - timedelta(days=1), refund=_HALF),
    because(Rule.TIER_BY_TIME, at="12:00", days=1, business_days="no", deadline=_STARTS, refund=Percent(50)),
    because(Rule.NO_SHOW, refund=Percent(0)),
    because(Rule.DEFAULT, refund=Money.zero("USD")),
    because(Rule.OF_PAID, paid=_WHOLE, refund=Percent(50), amount=_HALF),
    because(Rule.CANCELLATION_FEE, fee=_HALF, amount=_HALF),
    because(Rule.MINIMUM, minimum=_HALF, amount=_HALF),
    because(Rule.MAXIMUM, maximum=_HALF, amount=_HALF),
    because(Rule.NON_REFUNDABLE, non_refundable=_HALF, amount=_HALF),
    because(Rule.APPROVAL, above=_HALF, amount=_WHOLE),
    because(Rule.AMENDED, by="staff-1", reason="a sample", amount=_HALF),
    because(Rule.HOLD, hours=timedelta(hours=12), until=_STARTS),
)
"""One of every rule."""


def sample_letters(audience: Audience, state: MoneyState, locale: str, /) -> Iterator[Letter]:
    """One that tells all there is, one that may tell no detail, one that has hardly anything to tell."""
    full = Letter(
        state=state,
        audience=audience,
        detailed=True,
        locale=locale,
        zone="America/New_York",
        case_id="case-sample",
        reference="8KQ2M4XR",
        clinic_name="Sample Clinic",
        clinic_phone="+1 555 867 5310",
        clinic_email="desk@clinic.example",
        link="https://clinic.example/r/case-sample",
        refund=_HALF,
        retained=_HALF,
        reasons=SAMPLE_REASONS,
        starts_at=_STARTS,
        service="Sample visit",
        practitioner="Dr. Sample",
        patient_name="Sam Sample",
        tasks=("Look at the sample.",),
    )
    yield full
    yield attrs.evolve(full, detailed=False)
    yield Letter(
        state=state,
        audience=audience,
        detailed=True,
        locale=locale,
        zone="America/New_York",
        case_id="case-sample",
        reference="8KQ2M4XR",
        clinic_name="Sample Clinic",
    )
