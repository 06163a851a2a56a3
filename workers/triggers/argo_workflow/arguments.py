"""The arguments of Argo's command line that have a meaning without it.

Argo Events appends ``args`` to a call of that (``argo submit FILE ARGS...``), which parses them with pflag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

_SHORT = {"p": "parameter", "l": "labels", "f": "parameter-file", "o": "output", "w": "wait", "n": "namespace",
          "v": "verbose"}  # fmt: skip
_WITH_VALUE = frozenset({
    "parameter", "labels", "entrypoint", "serviceaccount", "name", "generate-name", "priority", "instanceid",
    "parameter-file", "namespace", "output", "status", "loglevel", "gloglevel", "from", "node-field-selector",
    "message", "scheduled-time",
})  # fmt: skip
_PRINTING = frozenset({"--log", "--watch", "--output", "--status", "--verbose", "--loglevel", "--gloglevel"})
_REFUSED = {
    "parameter-file": "write the parameters as `-p NAME=VALUE`, or into `source`",
    "wait": "let `policy.k8s.labels`, beside `template`, say when the workflow has succeeded",
    "namespace": "write `metadata.namespace` in the source",
    "from": "write `operation: submit-from`",
    "dry-run": "nothing would be done; `kubecdc try` shows what would be",
    "server-dry-run": "nothing would be done; `kubecdc try` shows what would be",
}
_EXISTING = frozenset({"instanceid"})
_AGAIN = frozenset({"instanceid", "parameter"})
_NEW = _AGAIN | {"labels", "entrypoint", "serviceaccount", "name", "generate-name", "priority"}
_SUBMITS = frozenset({"submit", "submit-from"})  # here a selector says what --watch and --log show
_TAKEN = {"submit": _NEW, "submit-from": _NEW, "resubmit": _AGAIN, "retry": _AGAIN}


class WrongArgument(ValueError):
    """An argument that cannot be used. ``index`` is its place in ``args``; the text is the reason and a hint."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class Options:
    """What the arguments say. "", None or nothing: not given. ``without_effect`` are flags that only print."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    entrypoint: str = ""
    service_account: str = ""
    name: str = ""
    generate_name: str = ""
    priority: int | None = None
    instance_id: str = ""
    without_effect: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def parse(args: tuple[str, ...], operation: str) -> Options:
    """The options of an operation. Raises WrongArgument."""
    options = Options()
    for index, name, value in _flags(args):
        if f"--{name}" in _PRINTING or (name == "node-field-selector" and operation in _SUBMITS):
            options = replace(options, without_effect=(*options.without_effect, f"--{name}"))
            continue
        if name in _REFUSED:
            raise WrongArgument(index, f"--{name} cannot be used; {_REFUSED[name]}")
        if name not in _TAKEN.get(operation, _EXISTING):
            raise WrongArgument(index, f"--{name} is not supported with the operation {operation}")
        try:
            options = _with(options, name, value)
        except ValueError as e:
            raise WrongArgument(index, f"--{name}: {e}") from None
    return options


def _flags(args: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """The flags as pflag reads them: place, long name, value."""
    rest = iter(enumerate(args))
    for index, argument in rest:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
        elif argument.startswith("-") and argument[1:2] in _SHORT:
            name, value = _SHORT[argument[1]], argument[2:]
            equals, value = ("=", value.removeprefix("=")) if value else ("", "")
        elif argument.startswith("-") and argument not in {"-", "--"}:
            raise WrongArgument(index, f"{argument[:2]} is not supported")
        else:
            raise WrongArgument(index, "is not a flag; the workflow is that of `source`")
        if name in _WITH_VALUE and not equals:
            following = next(rest, None)
            if following is None:
                raise WrongArgument(index, f"--{name} has no value; write it as the next entry of `args`")
            value = following[1]
        yield index, name, value


def _with(options: Options, name: str, value: str) -> Options:
    if name == "parameter":
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise ValueError("is not of the form NAME=VALUE")
        if key != key.strip():
            raise ValueError("the name has spaces at an end; flag and value are two entries of `args`")
        if key in options.parameters:
            raise ValueError(f"{key} is given twice")
        return replace(options, parameters={**options.parameters, key: text})
    if name == "labels":
        return replace(options, labels={**options.labels, **_labels(value)})
    if name == "priority":
        try:
            return replace(options, priority=int(value))
        except ValueError:
            raise ValueError("is not a whole number") from None
    if not value:
        raise ValueError("has no value")
    attribute = {"serviceaccount": "service_account", "generate-name": "generate_name", "instanceid": "instance_id"}
    given: dict[str, str] = {attribute.get(name, name): value}
    return replace(options, **given)  # type: ignore[arg-type]  # all of them are text


def _labels(value: str) -> dict[str, str]:
    labels = {}
    for pair in value.split(","):
        key, equals, text = pair.partition("=")
        if not equals or not key or "=" in text:
            raise ValueError("is not of the form NAME=VALUE,NAME=VALUE")
        labels[key] = text
    return labels
