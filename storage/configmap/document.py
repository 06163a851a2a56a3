"""The content of the ConfigMap: a readable table of checkpoints, and their compressed inventories."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubecdc.errors import Refused, UsageError
from kubecdc.storage.configmap.record import CheckpointRecord, Stamp
from kubecdc.storage.contracts import EntryState, Gap, Inventoried, State

FORMAT = 1
TABLE = "checkpoints"
EPOCH = "kubecdc.io/epoch"
LEVEL = 1  # of compression: the highest takes five times as long and saves a thirtieth
PASSED, INTENDED = 1, 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Row(msgspec.Struct, omit_defaults=True):
    """A checkpoint without its compressed parts."""

    key: str
    number: int
    term: int
    token: str
    objects: int  # how many, for readers of the table
    state: State | None = None
    gaps: list[Gap] = []


class _Table(msgspec.Struct):
    format: int
    write: str  # the token of the write
    checkpoints: list[Row]
    epoch: int = 0  # the newest term, which fences all older ones
    entries: dict[str, EntryState] = {}


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _ConfigMap(msgspec.Struct, rename="camel"):
    metadata: _Meta
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


@dataclass(frozen=True)
class Found:
    """A ConfigMap as the server has it. ``metadata`` is complete: what is not ours is written back unchanged."""

    metadata: Mapping[str, Any]
    write: str
    checkpoints: Mapping[str, CheckpointRecord]
    epoch: int = 0
    entries: Mapping[str, EntryState] = field(default_factory=dict)


@dataclass(frozen=True)
class Packed:
    """All checkpoints of one moment, ready to be written."""

    rows: list[Row]
    parts: Mapping[str, bytes]
    epoch: int = 0
    entries: Mapping[str, EntryState] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of all values, as Kubernetes counts them."""
        tables = len(msgspec.json.encode(self.rows)) + len(msgspec.json.encode(self.entries))
        return tables + sum(map(len, self.parts.values()))

    @property
    def objects(self) -> int:
        """How many objects there are in all inventories."""
        return sum(row.objects for row in self.rows)

    def document(self, metadata: Mapping[str, Any], write: str) -> dict[str, Any]:
        """The ConfigMap to send."""
        annotations = {**(metadata.get("annotations") or {}), EPOCH: str(self.epoch)}
        table = msgspec.json.encode(_Table(FORMAT, write, self.rows, self.epoch, dict(self.entries)))
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "annotations": annotations},
            "data": {TABLE: table.decode()},
            "binaryData": {name: base64.b64encode(part).decode() for name, part in self.parts.items()},
        }


def row(record: CheckpointRecord) -> Row:
    """The row of a checkpoint in the table."""
    stamp = record.stamp
    return Row(record.key, stamp.number, stamp.term, stamp.token, len(record.inventory), record.state, record.gaps)


def pack(key: str, inventory: Mapping[str, Inventoried], bodies: Mapping[str, bytes]) -> dict[str, bytes]:
    """Compress inventory and bodies of a checkpoint. This is slow if there are many objects."""
    parts = {}
    if inventory:
        parts[_part("inventory", key)] = zlib.compress(_encoder.encode(_columns(inventory)), LEVEL)
    if bodies:
        parts[_part("objects", key)] = zlib.compress(_encoder.encode(bodies), LEVEL)
    return parts


def read(text: bytes, place: str) -> Found:
    """Decode an answer. Raises Refused if it is not a ConfigMap of ours, UsageError if its format is newer."""
    try:
        found = msgspec.json.decode(text, type=_ConfigMap)
        metadata = msgspec.json.decode(text)["metadata"]
        if not found.data and not found.binary_data:
            return Found(metadata, "", {})  # created in advance, empty
        texts, parts = found.data or {}, found.binary_data or {}
        require_format(msgspec.json.decode(texts[TABLE], type=dict[str, Any])["format"], FORMAT, place)
        table = msgspec.json.decode(texts[TABLE], type=_Table)
        checkpoints = {row.key: _record(row, parts) for row in table.checkpoints}
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, zlib.error) as e:
        raise Refused(
            f"the ConfigMap {place} does not hold checkpoints, or is damaged: {e!r}",
            hint="name another one, or delete it: then everything is listed again",
        ) from e
    # A kubecdc of an earlier version writes the terms of the checkpoints only.
    epoch = max((table.epoch, *(record.stamp.term for record in checkpoints.values())))
    return Found(metadata, table.write, checkpoints, epoch, table.entries)


def require_format(version: int, known: int, place: str) -> None:
    """Raise UsageError if the content is of a newer format."""
    if version > known:
        raise UsageError(
            f"the ConfigMap {place} has format {version}, this kubecdc knows {known}",
            hint="run the version of kubecdc that wrote it, or a newer one",
        )


def _record(row: Row, parts: Mapping[str, str]) -> CheckpointRecord:
    stamp = Stamp(row.number, row.term, row.token)
    record = CheckpointRecord(row.key, stamp, row.state, list(row.gaps))
    if row.objects:
        record.inventory = _inventory(_columns_decoder.decode(_unpacked(parts[_part("inventory", row.key)])))
    if bodies := parts.get(_part("objects", row.key)):
        record.bodies = _bodies_decoder.decode(_unpacked(bodies))
    return record


def _part(kind: str, key: str) -> str:
    """The name of a value. Keys of checkpoints have characters that such names must not have."""
    return f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _unpacked(part: str) -> bytes:
    return zlib.decompress(base64.b64decode(part))


class _Columns(msgspec.Struct, array_like=True):
    """An inventory, column by column, because that compresses best."""

    uids: bytes  # 16 bytes for each object whose uid is a UUID; these come first
    others: list[str]  # the uids of the other objects
    versions: list[str]
    namespaces: list[str]
    names: list[str]
    flags: list[int]


def _columns(inventory: Mapping[str, Inventoried]) -> _Columns:
    plain = [uid for uid in inventory if _UUID.fullmatch(uid)]
    others = [uid for uid in inventory if not _UUID.fullmatch(uid)]
    rows = [inventory[uid] for uid in (*plain, *others)]
    return _Columns(
        bytes.fromhex("".join(plain).replace("-", "")),
        others,
        [known.resource_version for known in rows],
        [known.namespace for known in rows],
        [known.name for known in rows],
        [known.passed * PASSED + known.intended * INTENDED for known in rows],
    )


def _inventory(columns: _Columns) -> dict[str, Inventoried]:
    uids = [str(uuid.UUID(bytes=columns.uids[at : at + 16])) for at in range(0, len(columns.uids), 16)]
    rows = zip(columns.versions, columns.namespaces, columns.names, columns.flags, strict=True)
    return {
        uid: Inventoried(version, namespace, name, bool(flags & PASSED), bool(flags & INTENDED))
        for uid, (version, namespace, name, flags) in zip([*uids, *columns.others], rows, strict=True)
    }


_encoder = msgspec.msgpack.Encoder()
_columns_decoder = msgspec.msgpack.Decoder(_Columns)
_bodies_decoder = msgspec.msgpack.Decoder(dict[str, bytes])
