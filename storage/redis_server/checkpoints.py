"""Checkpoints in the same Redis as the events, so that one script makes a step of both."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from kubecdc.storage.contracts import Checkpoint, CheckpointDelta, EntryState, Gap, Inventoried, State, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost
from kubecdc.storage.redis_server.connection import Argument, Connection, pairs

PAGE = 2000  # fields of a large hash that are read at a time
CHECKPOINTS = 500  # in one script: a round trip for many, and no other command waits for long


class RedisCheckpoints:
    """`storage.contracts.CheckpointStore`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def acquire(self, key: str, term: Term) -> Checkpoint:
        answer = await self._connection.run("commits/acquire", key, term.number)
        _require_term(answer, term)
        return Checkpoint(key, int(answer[1]), term.number, _state(answer[2] if len(answer) > 2 else None))

    async def newest_term(self) -> int:
        return await newest_term(self._connection)

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        check(await self._connection.run("commits/save", *step(key, delta, term)), key, delta, term)

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        args: list[Argument] = [key, delta.follows, delta.after, term.number, delta.token]
        for uid, known in delta.upserts.items():
            args += [uid, msgspec.json.encode(known._replace(intended=True))]
        answer = await self._connection.run("commits/intend", *args)
        check(answer, key, delta, term)
        return bool(answer[0] != b"DONE")

    async def entry(self, name: str) -> EntryState | None:
        found = await self._connection.keyed("HGET", "entry-states", name)
        return None if found is None else _entry_states.decode(found)

    async def save_entry(self, name: str, state: EntryState, *, term: Term) -> None:
        answer = await self._connection.run("commits/save_entry", name, term.number, msgspec.json.encode(state))
        _require_term(answer, term)

    async def flush(self) -> None:
        """A no-op: what was saved is durable."""

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        cursor, found = b"0", {}
        while True:
            cursor, page = await self._connection.keyed("HSCAN", f"inventory:{key}", cursor, "COUNT", PAGE)
            found.update({uid.decode(): _known(known) for uid, known in pairs(page).items()})
            if int(cursor) == 0:
                return found

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        if not uids:
            return {}
        found = await self._connection.keyed("HMGET", f"objects:{key}", *uids)
        return {uid: body for uid, body in zip(uids, found, strict=True) if body is not None}

    async def checkpoint(self, key: str) -> Checkpoint | None:
        found = await self._connection.keyed("HMGET", f"checkpoint:{key}", "number", "term", "state")
        return _checkpoint(key.encode(), found)

    async def checkpoints(self) -> list[Checkpoint]:
        keys = sorted(await self._connection.keyed("SMEMBERS", "checkpoints"))
        answers = await self._connection.run_in_pages("commits/checkpoints", keys, CHECKPOINTS)
        return [found for key, answer in zip(keys, answers, strict=True) if (found := _checkpoint(key, answer))]

    async def gaps(self, key: str) -> list[Gap]:
        return [_gaps.decode(gap) for gap in await self._connection.keyed("LRANGE", f"gaps:{key}", 0, -1)]

    async def reset(self, key: str) -> bool:
        return bool(await self._connection.run("commits/reset", key))

    async def remove(self, key: str, *, entry: str, term: Term) -> None:
        _require_term(await self._connection.run("commits/remove", key, entry, term.number), term)


async def newest_term(connection: Connection) -> int:
    """The newest term that has acquired a checkpoint or led; from now on it fences all older ones."""
    epoch = int(await connection.keyed("HGET", "meta", "epoch") or 0)
    keys = list(await connection.keyed("SMEMBERS", "checkpoints"))
    return max([epoch, *map(int, await connection.run_in_pages("commits/terms", keys, CHECKPOINTS))])


NO_STEP: Sequence[Argument] = ("", 0, "", 0, "", "", "", 0, 0, 0)
"""The arguments of a script that publishes events without a checkpoint step."""


def step(key: str, delta: CheckpointDelta, term: Term) -> list[Argument]:
    """One step of a checkpoint, as the scripts read it."""
    upserts, bodies, removals = delta.upserts, delta.bodies, delta.removals
    laid_out: list[Argument] = [key, delta.follows, delta.after, term.number, delta.token]
    laid_out += (_encode(delta.state), _encode(delta.gap) if delta.gap else "")
    laid_out += (len(upserts), len(bodies), len(removals))
    for uid, known in upserts.items():
        laid_out += (uid, _encode(known[:4]))  # a step clears `intended`
    for uid, body in bodies.items():
        laid_out += (uid, body)
    laid_out += sorted(removals)
    return laid_out


def check(answer: Any, key: str, delta: CheckpointDelta, term: Term) -> None:
    """Check what a script answered to a step. Raises LeadershipLost, CommitMismatch."""
    _require_term(answer, term)
    if answer[0] == b"MISMATCH":
        raise CommitMismatch.of(key, int(answer[1]), delta.follows)


def _require_term(answer: Any, term: Term) -> None:
    if answer[0] == b"LOST":
        LeadershipLost.require(int(answer[1]), term)


def _known(found: bytes) -> Inventoried:
    """An object of the inventory.

    There are many of them and few namespaces, so each namespace is kept in memory once.
    """
    known = _inventoried.decode(found)
    return known._replace(namespace=sys.intern(known.namespace))


def _checkpoint(key: bytes, found: Sequence[bytes | None]) -> Checkpoint | None:
    number, term, state = found
    return None if term is None else Checkpoint(key.decode(), int(number or 0), int(term), _state(state))


def _state(found: bytes | None) -> State | None:
    return None if found is None else _states.decode(found)


_encode = msgspec.json.Encoder().encode
_states = msgspec.json.Decoder(State)
_entry_states = msgspec.json.Decoder(EntryState)
_inventoried = msgspec.json.Decoder(Inventoried)
_gaps = msgspec.json.Decoder(Gap)
