"""The tables of a bus, the check whether a file is one, and the migration of older formats.

A format adds to the one before it only what programs of the older format can work with. Such a program goes on when a
newer one migrates the file; only its next start is refused.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import structlog

from kubecdc.errors import Refused, UsageError
from kubecdc.storage.sqlite.file.connection import BUSY_DEADLINE, row

log = structlog.get_logger()
APPLICATION_ID = 0x6B636463  # "kcdc"

FORMAT_1 = """
CREATE TABLE meta (
    epoch INTEGER NOT NULL,          -- the last term handed out
    settled_bytes INTEGER NOT NULL   -- of the bodies of events that nobody is owed any more
);
INSERT INTO meta VALUES (0, 0);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    partitionkey TEXT NOT NULL,
    committed REAL NOT NULL,         -- wall-clock seconds, as everywhere here
    bytes INTEGER NOT NULL,
    owed INTEGER NOT NULL            -- deliveries left
);
CREATE INDEX events_settled ON events (committed) WHERE owed = 0;

CREATE TABLE bodies (                -- apart, so that counting an event down does not write its body again
    seq INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    registered REAL NOT NULL,
    pending INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0 -- pruned: the row lives on until its backlog is gone
);
CREATE UNIQUE INDEX subscriptions_name ON subscriptions (name) WHERE ended = 0;

CREATE TABLE deliveries (
    subscription INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    lane INTEGER NOT NULL,           -- hash of the partitionkey
    head INTEGER NOT NULL,           -- the first of its lane, so the only one that may be claimed
    due REAL NOT NULL,               -- when it may be claimed; of a claimed one, when its claim lapses
    token TEXT,                      -- of the last claim
    holder TEXT,
    received INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subscription, seq)
) WITHOUT ROWID;
CREATE INDEX deliveries_lane ON deliveries (subscription, lane, seq);
CREATE INDEX deliveries_due ON deliveries (subscription, due, seq) WHERE head = 1;

CREATE TRIGGER delivery_settled AFTER DELETE ON deliveries BEGIN
    UPDATE subscriptions SET pending = pending - 1 WHERE id = old.subscription;
    UPDATE deliveries SET head = 1 WHERE subscription = old.subscription AND seq = (
        SELECT min(seq) FROM deliveries WHERE subscription = old.subscription AND lane = old.lane);
    UPDATE events SET owed = owed - 1 WHERE seq = old.seq;
END;
CREATE TRIGGER event_settled AFTER UPDATE OF owed ON events WHEN new.owed = 0 BEGIN
    UPDATE meta SET settled_bytes = settled_bytes + new.bytes;
END;
CREATE TRIGGER event_dropped AFTER DELETE ON events BEGIN
    DELETE FROM bodies WHERE seq = old.seq;
    UPDATE meta SET settled_bytes = settled_bytes - old.bytes;
END;

CREATE TABLE workers (
    subscription TEXT NOT NULL,
    holder TEXT NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (subscription, holder)
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription TEXT NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    first REAL NOT NULL,
    last REAL NOT NULL
);
CREATE INDEX dead_letters_subscription ON dead_letters (subscription);

CREATE TABLE checkpoints (
    key TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    term INTEGER NOT NULL,
    token TEXT NOT NULL,             -- of the last commit
    state BLOB                       -- JSON
) WITHOUT ROWID;

CREATE TABLE inventory (
    key TEXT NOT NULL,
    uid TEXT NOT NULL,
    resource_version TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    passed INTEGER NOT NULL,
    PRIMARY KEY (key, uid)
) WITHOUT ROWID;

CREATE TABLE gaps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    since TEXT NOT NULL,
    until TEXT NOT NULL,
    time TEXT NOT NULL,
    synthetic INTEGER NOT NULL
);
CREATE INDEX gaps_key ON gaps (key);
"""

# A program of format 1 does not know the new columns and tables. The triggers do for it what a newer program needs.
FORMAT_2 = """
CREATE TABLE objects (               -- last bodies, of entries whose inventory keeps them
    key TEXT NOT NULL,
    uid TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (key, uid)
);
CREATE TRIGGER object_outdated AFTER INSERT ON inventory BEGIN
    DELETE FROM objects WHERE key = new.key AND uid = new.uid;
END;
CREATE TRIGGER object_gone AFTER DELETE ON inventory BEGIN
    DELETE FROM objects WHERE key = old.key AND uid = old.uid;
END;

ALTER TABLE events ADD COLUMN again INTEGER NOT NULL DEFAULT 0; -- 1: a copy, made by a replay or a redrive
CREATE TRIGGER copy_settled AFTER UPDATE OF owed ON events WHEN new.owed = 0 AND new.again = 1 BEGIN
    DELETE FROM events WHERE seq = new.seq; -- it need not be retained, or it would drive out what must
END;

ALTER TABLE meta ADD COLUMN forgotten REAL NOT NULL DEFAULT 0; -- up to then, events may be missing; 0: none is
UPDATE meta SET forgotten = (SELECT coalesce(min(committed) FILTER (WHERE owed = 0), max(committed), 0) FROM events)
WHERE (SELECT count(*) FROM events) != (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events');
CREATE TRIGGER event_forgotten AFTER DELETE ON events WHEN old.again = 0 BEGIN
    UPDATE meta SET forgotten = max(forgotten, old.committed);
END;

ALTER TABLE dead_letters ADD COLUMN event TEXT NOT NULL DEFAULT '';        -- its id; "" if it cannot be read
ALTER TABLE dead_letters ADD COLUMN partitionkey TEXT NOT NULL DEFAULT '';
CREATE TRIGGER dead_letter_named AFTER INSERT ON dead_letters BEGIN
    UPDATE dead_letters SET
        event = coalesce(json_extract(CAST(body AS TEXT), '$.id'), ''),
        partitionkey = coalesce(json_extract(CAST(body AS TEXT), '$.partitionkey'), '')
    WHERE id = new.id AND json_valid(CAST(body AS TEXT));
END;
UPDATE dead_letters SET
    event = coalesce(json_extract(CAST(body AS TEXT), '$.id'), ''),
    partitionkey = coalesce(json_extract(CAST(body AS TEXT), '$.partitionkey'), '')
WHERE json_valid(CAST(body AS TEXT));
"""

FORMAT_3 = """
ALTER TABLE inventory ADD COLUMN intended INTEGER NOT NULL DEFAULT 0; -- 1: about to be announced, or just so

CREATE TABLE state (                 -- what the workers of a trigger share
    scope TEXT NOT NULL,             -- the subscription's name
    key TEXT NOT NULL,
    version TEXT NOT NULL,           -- the token of the change that made it
    value BLOB NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX state_expires ON state (expires);
"""

FORMAT_4 = """
CREATE TABLE entries (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID; -- each as a whole; state is JSON
"""

FORMAT_5 = """
ALTER TABLE dead_letters ADD COLUMN place TEXT NOT NULL DEFAULT ''; -- among the events of the object; '': not known
ALTER TABLE dead_letters ADD COLUMN superseded INTEGER; -- 1: a later event was delivered since; NULL: not known
ALTER TABLE events ADD COLUMN superseded INTEGER DEFAULT 0; -- of a copy: what its dead letter was
CREATE INDEX dead_letters_current ON dead_letters (subscription, partitionkey) WHERE superseded = 0;
"""

FORMAT_6 = """
-- Of the failed attempts: how many do not count towards maxDeliveries, and the successes at the last one.
ALTER TABLE deliveries ADD COLUMN uncounted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN successes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN successes INTEGER NOT NULL DEFAULT 0; -- deliveries that were acked
"""

FORMAT_7 = """
CREATE TABLE registrants (           -- which process has which subscription registered for what
    subscription INTEGER NOT NULL,
    holder TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (subscription, holder)
) WITHOUT ROWID;
CREATE INDEX registrants_entry ON registrants (source, subject, subscription);
"""

FORMAT_8 = """
ALTER TABLE meta ADD COLUMN latest REAL NOT NULL DEFAULT 0;  -- when the last event was committed: it never goes back
ALTER TABLE meta ADD COLUMN boot TEXT NOT NULL DEFAULT '';   -- of the machine, and the wall clock's offset from its
ALTER TABLE meta ADD COLUMN clock REAL NOT NULL DEFAULT 0;   -- monotonic clock
UPDATE meta SET latest = (SELECT coalesce(max(committed), 0) FROM events);
"""

FORMATS = (
    FORMAT_1,
    FORMAT_2,
    FORMAT_3,
    FORMAT_4,
    FORMAT_5,
    FORMAT_6,
    FORMAT_7,
    FORMAT_8,
)  # each one's changes to the one before it; a new file goes through all of them
VERSION = len(FORMATS)


def prepare(db: apsw.Connection, path: Path) -> None:
    """Create the tables in an empty file, migrate an older bus in one transaction, or do nothing.

    Raises Refused for a file that is not a bus, UsageError for a newer one.
    """
    version = _version(db, path)
    if version == VERSION:
        return
    if not version:
        db.pragma("auto_vacuum", 2)  # incremental; can be set only while the file is empty
        _use_log(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version(db, path)  # another process may have been faster
        for changes in FORMATS[version:]:
            db.execute(changes)
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", VERSION)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors (disk full) have rolled it back already
            db.execute("ROLLBACK")
        raise
    if 0 < version < VERSION:
        log.info(
            "the file of the bus was migrated to a newer format",
            code="bus-migrated",
            path=str(path),
            was=version,
            format=VERSION,
        )


def _version(db: apsw.Connection, path: Path) -> int:
    """The format of the bus, 0 for an empty file. Raises Refused, UsageError."""
    application, version = db.pragma("application_id"), db.pragma("user_version")
    if application == APPLICATION_ID and 0 < version <= VERSION:
        return int(version)
    if application == APPLICATION_ID and version > VERSION:
        raise UsageError(
            f"{path} has format {version}, this program knows {VERSION}",
            hint="run the version of kubecdc that wrote it, or a newer one",
        )
    if application or version or row(db, "SELECT count(*) FROM sqlite_schema")[0]:
        raise Refused(f"{path} is a SQLite database, but not a kubecdc bus", hint="name another path")
    return 0


def _use_log(db: apsw.Connection) -> None:
    """Switch to the write-ahead log. This needs an exclusive lock, and SQLite does not always wait for it."""
    deadline = time.monotonic() + BUSY_DEADLINE
    while True:
        try:
            db.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
