"""The modifiers of gjson, on decoded JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from kubecdc.jsonpath.read import MISSING, Path

Apply = Callable[[Any], Any]
REFUSED = {"pretty": "`@pretty` is not supported: values are always written compactly"}


def _reverse(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(reversed(value.items()))
    return value[::-1] if isinstance(value, list) else value


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value)
    return [None] * len(value if isinstance(value, list) else [value])


def _values(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _flatten(value: Any, deep: bool = False) -> Any:
    if not isinstance(value, list):
        return value
    flat: list[Any] = []
    for element in value:
        if isinstance(element, list):
            flat.extend(_flatten(element, deep=True) if deep else element)
        else:
            flat.append(element)
    return flat


def _join(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return {key: v for element in value if isinstance(element, dict) for key, v in element.items()}


def _to_string(value: Any) -> Any:
    return msgspec.json.encode(value).decode()


def _from_string(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return MISSING


def _group(value: Any) -> Any:
    if not isinstance(value, dict):
        return MISSING
    lists = {key: v for key, v in value.items() if isinstance(v, list)}
    longest = max(map(len, lists.values()), default=0)
    return [{key: v[i] for key, v in lists.items() if i < len(v)} for i in range(longest)]


def _descend(value: Any, path: Path) -> Iterator[Any]:
    if (found := path.get(value)) is not MISSING:
        yield found
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _descend(child, path)


_PLAIN: dict[str, Apply] = {
    "this": lambda value: value,
    "valid": lambda value: value,
    "ugly": lambda value: value,
    "reverse": _reverse,
    "keys": _keys,
    "values": _values,
    "flatten": _flatten,
    "join": _join,
    "tostr": _to_string,
    "fromstr": _from_string,
    "group": _group,
}
NAMES = frozenset(_PLAIN) | frozenset(REFUSED) | {"dig"}


def modifier(name: str, argument: str, compile_path: Callable[[str], Path]) -> Apply:
    """The function of a modifier in `NAMES`. Raises ValueError for an argument that is not supported."""
    if name in REFUSED:
        raise ValueError(REFUSED[name])
    if name == "dig":
        path = compile_path(argument)
        return lambda value: list(_descend(value, path))
    if not argument:
        return _PLAIN[name]
    if name == "flatten":
        options = _options(name, argument)
        return lambda value: _flatten(value, deep=bool(options.get("deep")))
    if name == "join" and not _options(name, argument).get("preserve"):
        return _join
    raise ValueError(f"the argument {argument!r} of `@{name}` is not supported")


def _options(name: str, argument: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(argument, type=dict[str, Any])
    except msgspec.DecodeError as e:
        raise ValueError(f"the argument {argument!r} of `@{name}` is not a JSON object") from e
