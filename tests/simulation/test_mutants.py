"""The deliberate faults still are what they say: each changes a line that stands in the product, once."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from .mutation.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_deliberate_fault_changes_the_product_and_leaves_it_a_program(mutant: Mutant) -> None:
    spec = find_spec(mutant.module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    changed = mutant.changed(source)
    assert changed != source
    compile(changed, spec.origin, "exec")


def test_no_two_faults_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
