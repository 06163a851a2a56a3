"""The parts of an object that go into the queue: others are dropped or redacted before anything is stored or sent.

Only the objects on the way to such a part are taken apart. All other bytes are copied as the API server sent them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from kubecdc.jsonpath.partial import Tree, decoder
from kubecdc.watcher import manifest as manifests
from kubecdc.watcher.manifest.projection import EACH, IDENTITY, names

REDACTED = msgspec.Raw(b'"[redacted]"')
LAST_APPLIED = "metadata.annotations.kubectl\\.kubernetes\\.io/last-applied-configuration"
_DROP, _REDACT, _KEEP = "drop", "redact", "keep"
_Tree: TypeAlias = dict[str, "_Tree | str"]  # by name, or EACH for the elements of an array: what is done with it

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Projection:
    """The projection of an entry. False if it changes nothing."""

    def __init__(self, given: manifests.Projection | None) -> None:
        self._kept: _Tree = {}
        self._changed: _Tree = {}
        if given:
            if given.keep:
                self._kept = _tree((path, _KEEP) for path in (*IDENTITY, *given.keep))
            # What kubectl apply notes has the values that are redacted.
            dropped = (*given.drop, LAST_APPLIED) if given.redact else given.drop
            self._changed = _tree([*((path, _REDACT) for path in given.redact), *((path, _DROP) for path in dropped)])
        in_arrays = any(EACH in way for way, _ in _ends(self._changed, ()))
        self._splice = None if in_arrays else _Splice(self._changed)

    def __bool__(self) -> bool:
        return bool(self._kept or self._changed)

    def of(self, body: bytes) -> bytes:
        """The projected body. Projecting it again changes nothing. Raises what is in `UNREADABLE`."""
        if self._kept:
            body = _only(self._kept, body)
        if self._changed:
            quick = self._splice.of(body) if self._splice else None
            body = _without(self._changed, body) if quick is None else quick
        return body


class _Splice:
    """Cuts parts out of the text, in one look at it. To take its objects apart costs three times as much."""

    def __init__(self, tree: _Tree) -> None:
        self._parts = [(way, _encode(way[-1]) + b":", what) for way, what in _ends(tree, ())]
        self._decode = decoder(_bare(tree), msgspec.Raw)

    def of(self, body: bytes) -> bytes | None:
        """None if it cannot be told where in the text a part is."""
        found = self._decode(body)
        for way, key, what in self._parts:
            value = found
            for name in way:
                value = value.get(name) if isinstance(value, dict) else None
            if value is None:
                continue  # there is no such part
            begin = body.find(key)
            start = begin + len(key)
            if begin < 0 or body.find(key, start) >= 0 or not body.startswith(bytes(value), start):
                return None
            end = start + len(bytes(value))
            if what == _REDACT:
                body = body[:start] + bytes(_redacted(value)) + body[end:]
            elif body[end : end + 1] == b",":
                body = body[:begin] + body[end + 1 :]
            else:
                body = body[:begin].removesuffix(b",") + body[end:]
        return body


def _ends(tree: _Tree, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, below in tree.items():
        if isinstance(below, str):
            yield (*way, name), below
        else:
            yield from _ends(below, (*way, name))


def _bare(tree: _Tree) -> Tree:
    return {name: None if isinstance(below, str) else _bare(below) for name, below in tree.items()}


def _tree(paths: Iterable[tuple[str, str]]) -> _Tree:
    """What is done with a whole is also done with its parts; what comes later has precedence."""
    root: _Tree = {}
    for path, what in paths:
        tree, (*way, last) = root, names(path)
        for name in way:
            below = tree.setdefault(name, {})
            if isinstance(below, str):
                break
            tree = below
        else:
            tree[last] = what
    return root


def _children(value: bytes) -> dict[str, msgspec.Raw] | list[msgspec.Raw] | None:
    """The members or elements, None if it is neither an object nor an array."""
    start = value.lstrip()[:1]
    if start == b"{":
        return _object(value)
    return _array(value) if start == b"[" else None


def _without(tree: _Tree, value: bytes) -> bytes:
    changed = False
    children = _children(value)
    if isinstance(children, dict):
        for name, what in tree.items():
            if name not in children:
                continue
            changed = True
            if what == _DROP:
                del children[name]
            else:
                children[name] = _redacted(children[name]) if isinstance(what, str) else _raw(what, children[name])
    elif children and (below := tree.get(EACH)):
        changed = True
        if below == _DROP:
            children = []
        else:
            children = [_redacted(each) if isinstance(below, str) else _raw(below, each) for each in children]
    return _encode(children) if changed else value


def _raw(tree: _Tree, value: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(_without(tree, bytes(value)))


def _redacted(value: msgspec.Raw) -> msgspec.Raw:
    """An object keeps its keys: they tell what there is. null stays null."""
    text = bytes(value)
    children = _children(text)
    if isinstance(children, dict):
        return msgspec.Raw(_encode(dict.fromkeys(children, REDACTED)))
    return value if text.strip() == b"null" else REDACTED


def _only(tree: _Tree, value: bytes) -> bytes:
    children = _children(value)
    if isinstance(children, dict):
        return _encode(dict(_members(tree, children)))
    if isinstance(children, list):
        below = tree.get(EACH)
        if isinstance(below, dict):
            return _encode([msgspec.Raw(_only(below, bytes(each))) for each in children])
        return value if below else b"[]"
    return value


def _members(tree: _Tree, children: dict[str, msgspec.Raw]) -> Iterator[tuple[str, msgspec.Raw]]:
    for name, value in children.items():
        what = tree.get(name)
        if what:
            yield name, value if isinstance(what, str) else msgspec.Raw(_only(what, bytes(value)))
