"""The PostgreSQL of the journals' tests, which stands beside this folder and is imported by its place.

pytest names the modules of these folders otherwise than ``python -m`` does.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

_PLACE = Path(__file__).parents[1] / "journals" / "postgres_server.py"


def _server() -> Any:
    name = "clinicrefund_tests_postgres_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _PLACE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


running = _server().running

__all__ = ["running"]
