"""Decoding of a document as far as some paths read it: the rest is passed over, which takes a third of the time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

import msgspec

from kubecdc.jsonpath import parse
from kubecdc.jsonpath.read import Key

_DEEPEST = 16  # names of a path; what is there is decoded as it is
_Tree = dict[str, Any]  # by name: the tree below it, or None if all of that is needed
_OTHER = str | int | float | bool | None | list[Any]  # a value that is no object, where a path expects one


class Partial:
    """Decodes what these ``paths`` read. They find in that what they find in the whole document.

    ``decode`` raises what msgspec's decoder raises.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = frozenset(paths)
        self.decode = msgspec.json.Decoder(_type(_tree(self.paths))).decode

    def __contains__(self, path: str) -> bool:
        return path in self.paths


def _tree(paths: Iterable[str]) -> _Tree | None:
    """The names that the paths begin with. An index may be one of an array, so it ends the names."""
    tree: _Tree = {}
    for path in paths:
        names: list[str] = []
        for step in parse.compile(path).stages[0]:
            if not isinstance(step, Key) or step.index is not None or len(names) == _DEEPEST:
                break
            names.append(step.name)
        if not names:
            return None
        _add(tree, names)
    return tree


def _add(tree: _Tree, names: list[str]) -> None:
    *before, last = names
    for name in before:
        below = tree.setdefault(name, {})
        if below is None:
            return
        tree = below
    tree[last] = None


def _type(tree: _Tree | None) -> Any:
    if tree is None:
        return Any
    fields = {name: _type(below) for name, below in tree.items()}
    return TypedDict("Part", fields, total=False) | _OTHER  # type: ignore[operator]
