"""What the script that redrives dead letters answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubecdc.storage.contracts.administration import NO_SUCH_LETTER, subscription_ended
from kubecdc.storage.contracts.errors import BusFull


def refusals(answer: Iterable[Any], max_pending: int) -> dict[str, str]:
    """Why each dead letter stays that does, by id. Raises BusFull: then none was redriven."""
    refused: dict[str, str] = {}
    for id_, why, *more in answer:
        if why == b"FULL":
            raise BusFull(more[0].decode(), int(more[1]), max_pending)
        refused[id_.decode()] = NO_SUCH_LETTER if why == b"MISSING" else subscription_ended(more[0].decode())
    return refused
