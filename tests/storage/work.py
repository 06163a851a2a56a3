"""Counts what each script does in Redis, where no other command has its turn meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, NamedTuple

import pytest

from kubecdc.storage.redis_server import connection
from kubecdc.storage.redis_server.scripts import assembled

COUNTING = """
local real, run = redis, redis.call('INCR', KEYS[1] .. ':work:runs')
local calls, elements, bytes = 0, 0, 0
local function count(value)
  if type(value) == 'table' then
    for i = 1, #value do count(value[i]) end
  else
    elements = elements + 1
    if type(value) == 'string' then bytes = bytes + #value end
  end
end
local function counting(call)
  return function(...)
    local answer = call(...)
    calls = calls + 1
    count(answer)
    real.call('HSET', KEYS[1] .. ':work', 'NAME ' .. run, calls .. ' ' .. elements .. ' ' .. bytes)
    return answer
  end
end
local redis = {call = counting(real.call), pcall = counting(real.pcall), sha1hex = real.sha1hex}
"""


class Work(NamedTuple):
    """What one run of a script did: the commands that it called, the values and the bytes that they answered."""

    calls: int
    elements: int
    bytes: int


@dataclass
class Scripts:
    """The work of each run, by script, in the order of the runs."""

    runs: dict[str, list[Work]] = field(default_factory=dict)

    async def read(self, command: Callable[..., Any]) -> Scripts:
        """Fetch what was counted since the last call. ``command`` sends a command for a key of the bus."""
        found = connection.pairs(await command("HGETALL", "work"))
        await command("DEL", "work")
        counted = {tuple(name.decode().split()): work.decode().split() for name, work in found.items()}
        self.runs = {}
        for name, run in sorted(counted, key=lambda one: int(one[1])):
            self.runs.setdefault(name, []).append(Work(*map(int, counted[name, run])))
        return self

    def most(self, of: str = "") -> Work:
        """The most that any run did, of one script or of all."""
        runs = [work for name, works in self.runs.items() for work in works if of in {"", name}]
        return Work(*(max((work[i] for work in runs), default=0) for i in range(3)))


@contextmanager
def counted(patch: pytest.MonkeyPatch) -> Iterator[Scripts]:
    """Count the work of the scripts that are sent during the block."""

    def counting(package: str, name: str) -> tuple[str, str]:
        source = COUNTING.replace("NAME", name) + assembled(package, name)[0]
        return source, sha1(source.encode()).hexdigest()

    with patch.context() as context:
        context.setattr("kubecdc.storage.redis_server.connection.assembled", counting)
        yield Scripts()
