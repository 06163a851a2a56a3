"""The modifiers of gjson, on decoded JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Reversible
from typing import Any

import msgspec

from kubecdc.jsonpath.read import MISSING, Path

Apply = Callable[[Any], Any]
NESTED = 64
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


def _flatten(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [inner for element in value for inner in (element if isinstance(element, list) else (element,))]


def _flatten_deep(value: Any) -> Any:
    """Without recursion: the document may be nested deep."""
    if not isinstance(value, list):
        return value
    flat: list[Any] = []
    waiting = [iter(value)]
    while waiting:
        for element in waiting[-1]:
            if isinstance(element, list):
                waiting.append(iter(element))
                break
            flat.append(element)
        else:
            waiting.pop()
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
    except (msgspec.DecodeError, RecursionError):
        return MISSING


def _group(value: Any) -> Any:
    if not isinstance(value, dict):
        return MISSING
    groups: list[dict[str, Any]] = []
    for key, elements in value.items():
        if isinstance(elements, list):
            groups.extend({} for _ in range(len(elements) - len(groups)))
            for group, element in zip(groups, elements, strict=False):
                group[key] = element
    return groups


def _descend(value: Any, path: Path) -> Iterator[Any]:
    """What the path finds in the value and in all that is inside, outer before inner.

    Raises RecursionError if it finds more than `NESTED` objects or arrays inside each other: the result has each with
    all that is inside, so a deep document would become thousands of times as large.
    """
    waiting = [(value, 0)]
    while waiting:
        value, around = waiting.pop()
        if (found := path.get(value)) is not MISSING:
            yield found
            around += isinstance(found, dict | list)
            if around > NESTED:
                raise RecursionError(f"`@dig` finds more than {NESTED} values inside each other")
        children: Reversible[Any] = (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        )
        waiting.extend((child, around) for child in reversed(children))


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
        return _flatten_deep if options.get("deep") else _flatten
    if name == "join" and not _options(name, argument).get("preserve"):
        return _join
    raise ValueError(f"the argument {argument!r} of `@{name}` is not supported")


def _options(name: str, argument: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(argument, type=dict[str, Any])
    except msgspec.DecodeError as e:
        raise ValueError(f"the argument {argument!r} of `@{name}` is not a JSON object") from e
