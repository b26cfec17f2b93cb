"""Practice software without a public API: one that practice and vendor agree on, described by settings; or a person.

`Contract` describes the API, `PracticeConfig` names it, `PracticeEHR` and `PracticeGateway` are the two roles. A
vendor's adapter adds its name, its words and its defaults. What is not described is a task: `Pending` for the clinic.
"""

from clinicrefund.practice.config import PracticeConfig
from clinicrefund.practice.contract import Amounts, Contract, Failure, VisitWord
from clinicrefund.practice.ehr import PracticeEHR
from clinicrefund.practice.gateway import PracticeGateway

__all__ = [
    "Amounts",
    "Contract",
    "Failure",
    "PracticeConfig",
    "PracticeEHR",
    "PracticeGateway",
    "VisitWord",
]
