"""The example of the guide to adding an adapter: short, and it passes the suite that ours pass."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "ninth_vendor.py"


def test_adapter_stand_in_and_test_are_under_fifty_lines() -> None:
    """Lines of code: what is imported and what is blank does not count."""
    _, _, code = EXAMPLE.read_text().partition("\n\n\n")
    assert 30 < len([line for line in code.splitlines() if line.strip()]) < 50


@pytest.mark.anyio
async def test_the_examples_own_test_passes() -> None:
    spec = spec_from_file_location("ninth_vendor", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    await module.test_pond_keeps_the_contract_of_a_notifier()
