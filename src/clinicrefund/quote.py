"""Quote: what would happen, before anything does."""

import attrs

from clinicrefund.case.state import Step
from clinicrefund.policy import Decision


@attrs.frozen(kw_only=True)
class Quote:
    """What would happen: the decision, and the steps in order if each went well. Nothing was written or sent."""

    decision: Decision
    steps: tuple[Step, ...]

    def _repr_html_(self) -> str:
        from clinicrefund.timeline import quote_as_html

        return quote_as_html(self.decision, self.steps)

    def __str__(self) -> str:
        from clinicrefund.timeline import quote_as_text

        return quote_as_text(self.decision, self.steps)
