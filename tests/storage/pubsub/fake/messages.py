"""The protocol's messages, without the wrappers of the library, and how a request is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.pubsub_v1 import types

CODES = grpc.StatusCode


def message(name: str) -> Any:
    """The class of a message of the protocol."""
    return getattr(types, name).pb()


class Refused(Exception):
    """A request that is answered with an error. ``acks`` has the reason for each ack id that failed."""

    def __init__(self, code: grpc.StatusCode, text: str, acks: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.acks = acks


def invalid(text: str) -> Refused:
    return Refused(CODES.INVALID_ARGUMENT, text)


def missing(name: str) -> Refused:
    return Refused(CODES.NOT_FOUND, f"Resource not found (resource={name}).")


def exists(name: str) -> Refused:
    return Refused(CODES.ALREADY_EXISTS, f"Resource already exists in the project (resource={name}).")
