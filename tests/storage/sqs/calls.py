"""The calls of the back end, for tests that ask which were made, or that let some fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.errors import mapped


@dataclass
class Calls:
    """Operations with their parameters, in the order of their replies. ``failing`` has a code for some operations."""

    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [given for made, given in self.made if made == name]


@contextmanager
def recorded(patch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """The calls of all clients during the block."""
    calls, run = Calls(), Client._run

    async def record(self: Client, threads: Any, boto: Any, seconds: float, operation: str, given: Any) -> Any:
        if code := calls.failing.get(operation):
            action = "".join(part.capitalize() for part in operation.split("_"))
            raise mapped(ClientError({"Error": {"Code": code, "Message": "told"}}, action), action)
        reply = await run(self, threads, boto, seconds, operation, given)
        calls.made.append((operation, given))
        return reply

    with patch.context() as context:
        context.setattr(Client, "_run", record)
        yield calls
