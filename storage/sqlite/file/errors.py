"""Error mapping: SQLite's errors as those of kubecdc, which say what the caller should do."""

from __future__ import annotations

from pathlib import Path

import apsw

from kubecdc.cluster.open_files import HINT, exhausted
from kubecdc.errors import Refused, Unavailable, UsageError


class Damaged(Refused):
    """The file is corrupt or was removed: all that have it open stop using it."""


def map_error(error: Exception, path: Path) -> Exception:
    """The error to raise for an error of SQLite. Any other error is a bug in kubecdc, and is returned as it is."""
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(
                f"{path} stayed locked by another process ({error})", hint="see who has it open: `fuser` on the file"
            )
        case apsw.FullError():
            return Unavailable(f"the disk of {path} is full", hint="free some space; nothing is lost, the bus waits")
        case apsw.IOError() | apsw.NoMemError() | apsw.ProtocolError() | apsw.InterruptError():
            return Unavailable(
                f"cannot read or write {path}: {error}", hint="check the disk, its quota and the kernel's log"
            )
        case apsw.NotADBError():
            return Refused(f"{path} is not a SQLite database", hint="name another path, or move the file away")
        case apsw.CorruptError():
            return Damaged(
                f"{path} is damaged: {error}",
                hint="stop every kubecdc on it and keep a copy with its -wal; then restore a backup, "
                "or try `sqlite3 FILE .recover`; kubecdc never replaces the file",
            )
        case apsw.CantOpenError() if exhausted():
            return Unavailable(f"cannot open {path}: no file descriptor is left", hint=HINT)
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return UsageError(
                f"cannot open {path} for writing: {error}", hint="its folder must exist, and both must be writable"
            )
        case apsw.TooBigError():
            return Refused(f"an event is larger than SQLite can hold: {error}")
    return error
