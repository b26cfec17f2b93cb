"""What a conformance suite found."""

import attrs


@attrs.frozen(kw_only=True)
class Check:
    """One promise that was tried. ``problem``: what was wrong; None: it is kept."""

    name: str
    problem: str | None = None

    def __str__(self) -> str:
        return f"kept    {self.name}" if self.problem is None else f"BROKEN  {self.name}: {self.problem}"


@attrs.frozen(kw_only=True)
class Report:
    """All checks of a suite, in the order in which they ran. ``print(report)`` shows a line for each."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Every promise is kept. False for a report without checks: nothing was proven."""
        return bool(self.checks) and all(check.problem is None for check in self.checks)

    def raise_if_failed(self) -> None:
        """Raises `AssertionError` with the whole report, as a test wants it."""
        if not self.passed:
            raise AssertionError(f"\n{self}" if self.checks else "nothing was checked")

    def __str__(self) -> str:
        return "\n".join(str(check) for check in self.checks)
