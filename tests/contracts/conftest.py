"""The vendors' own documents, from the folder that ``CLINICREFUND_SPECS`` names. They are not ours to ship."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def vendor_document() -> Callable[[str], Any]:
    """Reads one document by its platform; skips the test, and says why, where there is none."""

    def read(platform: str) -> Any:
        folder = os.environ.get("CLINICREFUND_SPECS")
        if not folder:
            pytest.skip(
                "CLINICREFUND_SPECS is not set: put the vendors' API documents into a folder, one file for each "
                "platform (stripe.json), and name the folder in it"
            )
        path = Path(folder) / f"{platform}.json"
        if not path.exists():
            pytest.skip(f"{path.name} is not in the folder that CLINICREFUND_SPECS names")
        return json.loads(path.read_text())

    return read
