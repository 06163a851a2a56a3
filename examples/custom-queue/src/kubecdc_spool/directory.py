"""The directory of a subscription: one file for each event that it is owed.

    <spool>/subscriptions/<name>/spec      what it is registered for
    <spool>/subscriptions/<name>/events/   <due>.<sequence>.<attempts>.<token>
    <spool>/subscriptions/<name>/workers/  a file for each process that has it open
    <spool>/dead/<name>/                   <sequence>.<attempts>, and the reason in <sequence>.<attempts>.reason
    <spool>/new/                           files that are not complete yet

Every change of an event is one rename or unlink of its file by the exact name that was last seen. Of several processes
that try, one succeeds; the others get FileNotFoundError. The functions block: `queue.py` calls them in threads.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import ClaimLost, SubscriptionSpec, SubscriptionStatus, Worker

FRESH = "new"  # the token of an event that nobody has claimed yet


class Name(NamedTuple):
    """The name of an event's file. ``due`` is in milliseconds since the epoch, and so a claim that lapses is due."""

    due: int
    sequence: str  # when it was published, in nanoseconds, and a random end
    attempts: int
    token: str  # of the claim

    def __str__(self) -> str:
        return f"{self.due:015}.{self.sequence}.{self.attempts}.{self.token}"

    @classmethod
    def parse(cls, text: str) -> Name:
        due, sequence, attempts, token = text.split(".")
        return cls(int(due), sequence, int(attempts), token)

    @property
    def published(self) -> float:
        """In seconds since the epoch."""
        return int(self.sequence.partition("-")[0]) / 1e9


@contextmanager
def map_error() -> Iterator[None]:
    """What the operating system refuses may succeed later: a full disk, for example."""
    try:
        yield
    except OSError as e:
        raise Unavailable(f"the spool cannot be used: {e}") from e


class Directory:
    """A subscription in the spool at ``root``."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self._new = root / "new"
        self.path = root / "subscriptions" / quote(name, safe="")
        self._spec, self._events, self._workers = (self.path / part for part in ("spec", "events", "workers"))
        self._dead = root / "dead" / quote(name, safe="")

    def register(self, spec: SubscriptionSpec) -> None:
        """Make it known, or give it another spec; what it is owed stays."""
        for folder in (self._new, self._events, self._workers, self._dead):
            folder.mkdir(parents=True, exist_ok=True)
        found = self.spec()
        if found is None or found[0] != spec:
            registered = found[1] if found else time.time()
            self._write(self._spec, json.dumps([spec.name, spec.source, spec.subject, registered]).encode())
            for folder in (self.path, self.path.parent, self.path.parent.parent):
                sync(folder)

    def spec(self) -> tuple[SubscriptionSpec, float] | None:
        """What it is registered for, and since when; None if it is not."""
        try:
            *spec, registered = json.loads(self._spec.read_bytes())
        except FileNotFoundError:
            return None
        return SubscriptionSpec(*spec), registered

    def prune(self) -> bool:
        """The rename ends it for everybody at once, then its files are removed."""
        grave = self._new / secrets.token_hex(8)
        try:
            self.path.rename(grave)
        except FileNotFoundError:
            return False
        shutil.rmtree(grave)
        return True

    def add(self, bodies: list[bytes]) -> None:
        """Durable on return. Raises FileNotFoundError if the subscription has just ended."""
        for body in bodies:
            now = time.time_ns()
            name = Name(now // 1_000_000, f"{now:020}-{secrets.token_hex(4)}", 0, FRESH)
            self._write(self._events / str(name), body)
        sync(self._events)

    def names(self) -> list[Name]:
        """All events that are owed, the longest due first."""
        try:
            return [Name.parse(text) for text in sorted(file.name for file in self._events.iterdir())]
        except FileNotFoundError:
            return []

    def change(self, old: Name, **what: Any) -> Name:
        """Rename an event. Raises ClaimLost if somebody else has changed it."""
        new = old._replace(**what)
        with self._claimed(old) as file:
            file.rename(self._events / str(new))
        return new

    def read(self, name: Name) -> bytes:
        """The event. Raises ClaimLost."""
        with self._claimed(name) as file:
            return file.read_bytes()

    def remove(self, name: Name) -> None:
        """It is done. Raises ClaimLost."""
        with self._claimed(name) as file:
            file.unlink()

    def give_up(self, name: Name, attempts: int, reason: str) -> None:
        """Move it aside. The reason is written first: a crash in between leaves a reason without an event."""
        letter = self._dead / f"{name.sequence}.{attempts}"
        note = letter.with_name(f"{letter.name}.reason")
        self._write(note, reason.encode())
        try:
            with self._claimed(name) as file:
                file.rename(letter)
        except ClaimLost:
            note.unlink()
            raise
        sync(self._dead)

    def present(self, holder: str) -> None:
        """This process has the subscription open."""
        with suppress(FileNotFoundError):
            (self._workers / quote(holder, safe="")).write_text(holder)

    def absent(self, holder: str) -> None:
        """It has not any more."""
        (self._workers / quote(holder, safe="")).unlink(missing_ok=True)

    def status(self, stale: float) -> SubscriptionStatus | None:
        """Workers not heard of for ``stale`` seconds do not count. None if it is not registered."""
        if (found := self.spec()) is None:
            return None
        names, workers = self.names(), []
        for file in sorted(self._workers.iterdir()):
            with suppress(FileNotFoundError):
                if (seen := file.stat().st_mtime) > time.time() - stale:
                    workers.append(Worker(file.read_text(), seen))
        dead = sum(not file.name.endswith(".reason") for file in self._dead.iterdir())
        oldest = min((name.published for name in names), default=None)
        return SubscriptionStatus(*found, len(names), oldest, dead, tuple(workers))

    def _write(self, path: Path, content: bytes) -> None:
        """The whole file or none of it, with its content on the disk."""
        temporary = self._new / secrets.token_hex(8)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            temporary.rename(path)
        except OSError:
            temporary.unlink()
            raise

    @contextmanager
    def _claimed(self, name: Name) -> Iterator[Path]:
        try:
            yield self._events / str(name)
        except FileNotFoundError as e:
            raise ClaimLost(f"{name} of {self.name!r} is not ours any more") from e


def sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
