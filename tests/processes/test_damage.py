"""A journal's files after a cut or a flipped bit. ``python -m tests.processes --damage 1`` tries every byte."""

from pathlib import Path

import anyio
import pytest

from clinicrefund import JournalError, RefundOrchestrator
from clinicrefund.demo import APPOINTMENT
from clinicrefund.errors import CaseNotFound
from clinicrefund.history import History
from clinicrefund.journals import SQLiteJournal

from .damage import Damage, Original, gone_on, killed_and_closed, offsets
from .kills import Place, seeded


@pytest.fixture(scope="module")
def originals(place: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Original, Original]:
    """The files of a process that was killed, and of one that ended."""
    return killed_and_closed(place, tmp_path_factory.mktemp("originals"))


@pytest.mark.parametrize("file", ["db", "wal", "shm"])
def test_a_killed_journal_cut_or_flipped_at_any_byte_is_read_right_as_of_before_or_not_at_all(
    originals: tuple[Original, Original], tmp_path: Path, file: str
) -> None:
    _try(originals[0], tmp_path, file, 6)


def test_a_closed_journal_cut_or_flipped_at_any_byte_is_read_right_or_not_at_all(
    originals: tuple[Original, Original], tmp_path: Path
) -> None:
    told = _try(originals[1], tmp_path, "db", 16)
    assert told > 5


def _try(original: Original, folder: Path, file: str, times: int) -> int:
    damage, draw = Damage(original=original, folder=folder), seeded(file, times)
    content = original.files["" if file == "db" else f"-{file}"]
    for at in draw.sample(offsets(content, file, 997), times):
        damage.cut(file, at)
        damage.flip(file, at, draw.randrange(8))
    return sum(times for what, times in damage.tally.items() if what.endswith("told"))


@pytest.mark.parametrize("part", [0.2, 0.55, 0.9])
def test_a_case_goes_on_from_a_log_that_was_cut_and_moves_no_money_twice(place: Place, part: float) -> None:
    """As from a backup: what the journal no longer knows is found at the platforms, where they can be asked."""
    gone_on(place, 31, part)


def test_an_amount_that_was_changed_in_the_file_is_never_acted_on(
    originals: tuple[Original, Original], tmp_path: Path, place: Place
) -> None:
    """SQLite gives it back without a word; the record's digest tells. The record can still be looked at."""
    content = originals[1].files[""]
    assert b'[12000,"USD"]' in content
    path = originals[1].write(tmp_path, db=content.replace(b'[12000,"USD"]', b'[92000,"USD"]'))

    async def look() -> None:
        async with SQLiteJournal(path) as journal:
            refunds = RefundOrchestrator(
                journal=journal, bookings=place.town.sandbox.bookings, clinic=place.town.sandbox.clinic()
            )
            async with refunds:
                with pytest.raises(JournalError, match=r"record 2 of \d+ .* was changed, dropped or moved"):
                    await refunds.case_of(APPOINTMENT)
                (name,) = (name for name in originals[1].streams if name.startswith("case/"))
                history = await refunds.history(name.removeprefix("case/"))
                assert isinstance(history, History)
                with pytest.raises(JournalError, match="does not follow from the one before"):
                    history.verify()
                with pytest.raises(CaseNotFound):
                    await refunds.history("cr-of-nobody")

    anyio.run(look)


def test_an_empty_file_beside_a_log_with_records_is_damaged_and_not_new(
    originals: tuple[Original, Original], tmp_path: Path
) -> None:
    """SQLite would delete the log, and with it all that was acknowledged."""
    path = originals[0].write(tmp_path, db=b"")

    async def look() -> None:
        async with SQLiteJournal(path) as journal:
            with pytest.raises(JournalError, match="it is empty, and its -wal is not"):
                await journal.read("case/1")

    anyio.run(look)
    assert path.with_name("copy.db-wal").read_bytes() == originals[0].files["-wal"]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        # SQLite's message quotes what it cannot read, and Python cannot read the message.
        pytest.param(b"tablerecordrecord", b"table\xf2ecordrecord", id="a table's name"),
        pytest.param(b"NOT NULL REFERENCES", b"NOT NULL \xd2EFERENCES", id="a word of its making"),
    ],
)
def test_a_schema_that_is_no_text_is_damage_and_no_other_error(
    originals: tuple[Original, Original], tmp_path: Path, was: bytes, becomes: bytes
) -> None:
    content = originals[1].files[""]
    assert was in content
    path = originals[1].write(tmp_path, db=content.replace(was, becomes))

    async def look() -> None:
        async with SQLiteJournal(path) as journal:
            with pytest.raises(JournalError, match="is damaged"):
                await journal.read("case/1")

    anyio.run(look)
