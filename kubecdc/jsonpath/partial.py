"""Decoding of a document as far as some paths read it: the rest is passed over, which takes a third of the time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

import msgspec

from kubecdc.jsonpath import parse

_DEEPEST = 16  # names of a path; what is there is decoded as it is
Tree = Mapping[str, Any]  # by name: the tree below it, or None if all of that is needed
_OTHER = str | int | float | bool | None | list[Any]  # a value that is no object, where a path expects one


class Partial:
    """Decodes what these ``paths`` read. They find in that what they find in the whole document.

    ``decode`` raises what msgspec's decoder raises.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = frozenset(paths)
        self.decode = decoder(_tree(self.paths))

    def __contains__(self, path: str) -> bool:
        return path in self.paths


def decoder(tree: Tree | None, leaf: Any = Any) -> Callable[[bytes | msgspec.Raw], Any]:
    """What decodes the names of a tree and nothing else, and what is needed at its ends as ``leaf``."""
    return msgspec.json.Decoder(_type(tree, leaf)).decode


def _tree(paths: Iterable[str]) -> Tree | None:
    """The names that the paths begin with. An index may be one of an array, so it ends the names."""
    tree: dict[str, Any] = {}
    for path in paths:
        keys = itertools.takewhile(lambda key: key.index is None, parse.compile(path).keys)
        names = [key.name for key in keys][:_DEEPEST]
        if not names:
            return None
        _add(tree, names)
    return tree


def _add(tree: dict[str, Any], names: list[str]) -> None:
    *before, last = names
    for name in before:
        below = tree.setdefault(name, {})
        if below is None:
            return
        tree = below
    tree[last] = None


def _type(tree: Tree | None, leaf: Any) -> Any:
    if tree is None:
        return leaf
    fields = {name: _type(below, leaf) for name, below in tree.items()}
    return TypedDict("Part", fields, total=False) | _OTHER  # type: ignore[operator]
