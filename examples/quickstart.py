"""One cancelled appointment, from a signed Calendly webhook to a closed case, over real HTTP; no account needed.

The host's code, in full, is `clinicrefund.demo`, which this runs with the cancellation in ``data/``. Try also::

    python examples/quickstart.py                         # again: no money moves, and it says why
    python examples/quickstart.py --database other.db --crash-after refund   # dies; the next run finishes the case

With credentials in the environment (each page of ``docs/adapters`` names its variables) a platform is real.
"""

import sys
from pathlib import Path

from clinicrefund.demo import main

if __name__ == "__main__":
    sys.exit(main(data=Path(__file__).parent / "data" / "calendly_invitee_canceled.json"))
