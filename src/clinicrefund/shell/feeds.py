"""Feeds: sources that are polled. The cursor and what was read are committed together, so that nothing is missed."""

import attrs

from clinicrefund.case.events import FeedRead
from clinicrefund.case.ids import feed_stream
from clinicrefund.clinic import Clinic
from clinicrefund.errors import JournalConflict
from clinicrefund.ports import Append, Clock, Journal
from clinicrefund.shell.intake import ClinicOf, accepting, told_apart
from clinicrefund.shell.streams import commit, fresh, read


@attrs.frozen(kw_only=True)
class Feeds:
    """Reads the feeds of clinics as they come due."""

    journal: Journal
    clock: Clock
    clinic_of: ClinicOf

    async def begin(self, clinic: Clinic, /) -> None:
        """Each feed of the clinic is due from now on, unless it already was."""
        for feed in clinic.feeds:
            stream, now = fresh(feed_stream(clinic.clinic_id, feed)), self.clock.now()
            begun = FeedRead(clinic_id=clinic.clinic_id, feed=feed, cursor=None, at=now)
            try:
                await commit(self.journal, [stream.add(begun, due=now)])
            except JournalConflict:
                continue

    async def fetch(self, name: str, /) -> None:
        """Reads one page; the next is due at once where there is more, else when the feed says."""
        stream = await read(self.journal, name)
        last = next((event for event in reversed(stream.events) if isinstance(event, FeedRead)), None)
        if last is None:
            return
        clinic = await self.clinic_of(last.clinic_id)
        feed = clinic.feeds.get(last.feed)
        if feed is None:  # the host has taken it out
            await commit(self.journal, [Append(stream=name, seen=stream.length, records=(), due=None)])
            return
        now = self.clock.now()
        page = await feed.fetch(last.cursor, now=now)
        told = told_apart(attrs.evolve(trigger, clinic_id=clinic.clinic_id) for trigger in page.triggers)
        appends: dict[str, Append] = {}
        for trigger in told:
            for append in accepting(trigger, now=now, source=last.feed):
                if not await self.journal.read(append.stream):
                    appends[append.stream] = append
        due = now if page.more else now + feed.every
        if page.cursor == last.cursor:
            moved = Append(stream=name, seen=stream.length, records=(), due=due)
        else:
            moved = stream.add(attrs.evolve(last, cursor=page.cursor, at=now), due=due)
        await commit(self.journal, [moved, *appends.values()])
