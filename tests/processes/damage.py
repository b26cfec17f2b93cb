"""Journal files that were cut at a byte, or in which a bit flipped: they are read right, or not at all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import attrs

from clinicrefund import JournalError, Record
from clinicrefund.journals import SQLiteJournal
from clinicrefund.shell.streams import read

from .kills import Place, seeded
from .story import Death, Story

_A_DAY = timedelta(days=1)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
PAGE = 4096
_WAL_HEADER, _FRAME_HEADER = 32, 24

Streams = Mapping[str, Sequence[Record] | str]
"""What each stream is read as; text: what the error says. The stream "" stands for what is due."""


@attrs.frozen(kw_only=True)
class Original:
    """The files of a journal as a process left them, by how their names end."""

    files: Mapping[str, bytes]
    streams: Mapping[str, Sequence[Record]]

    @classmethod
    def of(cls, path: str, folder: Path) -> "Original":
        """Copies them, and reads the copy."""
        found = (Path(path + end) for end in ("", "-wal", "-shm"))
        files = {one.name.removeprefix(Path(path).name): one.read_bytes() for one in found if one.exists()}
        bare = cls(files=files, streams={})
        names = anyio.run(_names, bare.write(folder))
        streams = anyio.run(_streams, bare.write(folder), names)
        assert not any(isinstance(held, str) for held in streams.values())
        return cls(files=files, streams=streams)  # type: ignore[arg-type]

    def write(self, folder: Path, **changed: bytes) -> Path:
        """The files again, with these changed (``db``, ``wal``, ``shm``)."""
        path = folder / "copy.db"
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).unlink()
            content = changed.get(end.removeprefix("-") or "db", self.files.get(end))
            if content is not None:
                path.with_name(path.name + end).write_bytes(content)
        return path


async def _names(path: Path) -> Sequence[str]:
    async with SQLiteJournal(path) as journal:
        return [
            name
            for (name,) in await journal._reader.call(
                lambda connection: connection.execute(
                    "SELECT name FROM stream WHERE name NOT LIKE 'probe/%'"
                ).fetchall()
            )
        ]


async def _streams(path: Path, names: Iterable[str]) -> Streams:
    """Each stream as the library reads it; whatever is raised must be ours."""
    found: dict[str, Sequence[Record] | str] = {}
    async with SQLiteJournal(path) as journal:
        for name in names:
            try:
                await read(journal, name)
                found[name] = tuple(await journal.read(name))
            except JournalError as error:
                found[name] = str(error)
        try:
            await journal.due(_END_OF_TIME, limit=100)
        except JournalError as error:
            found[""] = str(error)
    return found


@attrs.define(kw_only=True)
class Damage:
    """Changes files byte by byte, and counts what came of it."""

    original: Original
    folder: Path
    tally: Counter[str] = attrs.field(factory=Counter[str])

    def cut(self, file: str, at: int) -> None:
        """The file ends at that byte."""
        self._try(f"{file} cut at {at}", file, self._content(file)[:at])

    def flip(self, file: str, at: int, bit: int) -> None:
        """One bit of that byte is another."""
        content = bytearray(self._content(file))
        content[at] ^= 1 << bit
        self._try(f"{file} flipped at {at}, bit {bit}", file, bytes(content))

    def _content(self, file: str) -> bytes:
        return self.original.files["" if file == "db" else f"-{file}"]

    def _try(self, what: str, file: str, content: bytes) -> None:
        path = self.original.write(self.folder, **{file: content})
        found = anyio.run(_streams, path, self.original.streams)
        kind, what_happened, *_ = what.split()
        for name, was in self.original.streams.items():
            self.tally[f"{kind} {what_happened}: {self._judged(what, file, was, found[name])}"] += 1
        if "" in found:
            _named(what, found[""])

    def _judged(self, what: str, file: str, was: Sequence[Record], found: Sequence[Record] | str) -> str:
        if isinstance(found, str):
            _named(what, found)
            return "told"
        if found == was:
            return "as it was"
        if file == "wal" and found == was[: len(found)]:
            return "as it was before"  # as from a backup: SQLite takes what was cut for never written
        if what in ("db cut at 0", "db cut at 1") and "-wal" not in self.original.files:
            return "new"  # a process that dies while it makes the file leaves just that; to SQLite one byte is none
        # Its name is lost, or the place where it was looked for: nothing is left that could say so.
        assert not found, f"{what}: a stream of {len(was)} is read as another one of {len(found)} records"
        assert "flipped" in what, f"{what}: a stream of {len(was)} is gone, and nobody is told"
        return "not found"


def _named(what: str, said: str) -> None:
    """An error must say what, where, and what to do."""
    ours = ("copy.db" in said or "stream" in said or "record" in said) and (": " in said)
    assert ours, f"{what}: the error does not say where and what to do: {said}"


def offsets(content: bytes, file: str, step: int) -> Sequence[int]:
    """Every ``step``-th byte, and in any case those around which files have their structure."""
    size = len(content)
    first, unit = (_WAL_HEADER, _FRAME_HEADER + PAGE) if file == "wal" else (0, PAGE)
    starts = range(first, size, unit)
    edges = (
        {edge + more for edge in starts for more in (-1, 0, 1, 8, 16, 23, 24, 25)} if step > 1 else set[int]()
    )
    header = range(0, 101, max(1, step // 40))
    return sorted(at for at in {*edges, *header, *range(0, size, step), size - 1} if 0 <= at < size)


def killed_and_closed(place: Place, folder: Path) -> tuple[Original, Original]:
    """The files of a process that was killed in mid-case, and of one that ended."""
    killed, closed = place.story(), place.story()
    for story, death in ((killed, Death(commit=20, after=True)), (closed, None)):
        story.begin()
        story.live(death)
    return Original.of(killed.journal, folder), Original.of(closed.journal, folder)


def gone_on(place: Place, request: int, part: float) -> Story:
    """A case whose process died, whose log was then cut at that part of it, and which goes on from what is left."""
    story = place.story()
    story.begin()
    story.live(Death(request=request, after=True))
    log = Path(f"{story.journal}-wal")
    log.write_bytes(log.read_bytes()[: int(part * log.stat().st_size)])
    story.happened.append(f"the log was cut to {part:.2f} of it")
    story.forgot, story.told = True, False  # Calendly tells again, or its feed does, of what may be lost
    story.pass_time(_A_DAY)
    story.end(seeded(request, part))
    return story


def everything(place: Place, folder: Path, step: int, seed: int) -> Counter[str]:
    """Cuts and flips at every ``step``-th byte of each file; how often what came of it."""
    killed, closed = killed_and_closed(place, folder)
    tally, draw = Counter[str](), seeded(seed)
    for original, file in ((closed, "db"), (killed, "db"), (killed, "wal"), (killed, "shm")):
        damage = Damage(original=original, folder=folder)
        at = offsets(damage._content(file), file, step)
        for offset in at:
            damage.cut(file, offset)
            damage.flip(file, offset, draw.randrange(8))
        tally += damage.tally
    return tally


__all__ = ["Damage", "Original", "everything", "gone_on", "killed_and_closed", "offsets"]
