"""The functions of templates: Go's own and Sprig's, each charged for its input and its output."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from gotpl import Template
from gotpl.funcs.sprig import generic_func_map
from gotpl.runtime.results import FunctionResult

from kubecdc.workers.sensor.templates import regex
from kubecdc.workers.sensor.templates.meter import MADE, charge
from kubecdc.workers.sensor.templates.values import made, of_json, plain

REMOVED = {  # of Sprig's, each with the reason
    **dict.fromkeys(("env", "expandenv"), "the environment of the worker is not for templates"),
    "getHostByName": "a template makes no request",
    **dict.fromkeys(
        ("genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert",
         "genSignedCertWithKey", "buildCustomCert", "derivePassword", "bcrypt", "htpasswd", "encryptAES", "decryptAES"),
        "a template computes no keys and passwords",
    ),
}  # fmt: skip

_SLOW, _USUAL, _FAST = 5.0, 0.8, 0.02  # microseconds for each character that is given
_SPEEDS = {
    **dict.fromkeys(("camelcase", "kebabcase", "snakecase", "sortAlpha"), _SLOW),
    **dict.fromkeys(
        ("all", "any", "append", "adler32sum", "b64dec", "b64enc", "cat", "coalesce", "concat", "contains", "default",
         "dict", "dig", "empty", "eq", "fromJson", "ge", "get", "gt", "has", "hasKey", "hasPrefix", "hasSuffix",
         "indent", "index", "join", "kindIs", "kindOf", "le", "len", "list", "lt", "mustAppend", "mustFromJson",
         "mustPrepend", "mustPush", "ne", "nindent", "not", "pluck", "prepend", "push", "repeat", "replace", "set",
         "sha1sum", "sha256sum", "sha512sum", "slice", "split", "splitList", "splitn", "substr", "ternary", "toJson",
         "toRawJson", "trim", "trimAll", "trimPrefix", "trimSuffix", "trimall", "trunc", "tuple", "typeIs",
         "typeIsLike", "typeOf", "unset", "urlquery", *regex.FUNCTIONS),
        _FAST,
    ),
}  # fmt: skip
_COPYING = frozenset(  # of lists: they do not look into the elements
    name
    for function in ("append", "push", "prepend", "first", "last", "rest", "initial", "reverse", "slice", "chunk")
    for name in (function, f"must{function.capitalize()}")
) | {"concat"}
_BUILTINS = (
    "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "print", "printf", "println", "slice",
    "urlquery",
)  # fmt: skip
_LONGEST_VERSION = 256  # characters
_DIRECTIVE = re.compile(r"%[^a-zA-Z%]*")
_NUMBER = re.compile(r"\d+")


def _repeat(count: int, text: str) -> float:
    return count * len(text)


def _indent(spaces: int, text: str) -> float:
    return spaces * (text.count("\n") + 1)


def _until(*numbers: int) -> float:
    """``until n``, ``untilStep start stop step``, ``seq`` of each number of arguments: 10 for each number made."""
    steps = [abs(n) for n in numbers]
    return 10.0 * (max(steps, default=0) + sum(steps))


def _random(count: int) -> float:
    return 50.0 * count  # microseconds: each character is asked of the kernel


def _join(separator: str, values: Any) -> float:
    return len(separator) * len(values) if isinstance(values, list) else 0


def _replace(old: str, new: str, text: str) -> float:
    return (text.count(old) if old else len(text) + 1) * len(new)


def _wrap(width: int, text: str) -> float:
    return len(text) / max(width, 1)


def _wrap_with(width: int, separator: str, text: str) -> float:
    return len(text) / max(width, 1) * (len(separator) + 1)


def _uniq(values: Any) -> float:
    return 10.0 * len(values) ** 2


def _without(values: Any, *excluded: object) -> float:
    return 10.0 * len(values) * len(excluded)


def _has(needle: object, values: Any) -> float:
    return 10.0 * len(values)


def _version(*texts: str) -> float:
    if max(map(len, texts)) > _LONGEST_VERSION:
        raise ValueError(f"a version has more than {_LONGEST_VERSION} characters")
    return 0


def _printf(format: str, *values: object) -> float:  # noqa: A002 - its name in Go
    """The widths and precisions, also those among the values (``%*d``), and values that are printed repeatedly."""
    directives = _DIRECTIVE.findall(format)
    widths = sum(int(n) for d in directives for n in _NUMBER.findall(d[:100]) if len(n) < 20)
    if any(len(d) > 100 for d in directives):
        raise ValueError("a directive of printf has more than 100 characters")
    if "*" in format:
        widths += sum(abs(v) for v in values if isinstance(v, int)) * len(directives)
    if "[" in format:
        widths += max((len(v) for v in values if isinstance(v, str)), default=0) * len(directives)
    return widths


def _indentation(value: object) -> float:
    """The spaces that ``toPrettyJson`` puts before the elements."""
    spaces, stack = 0.0, [(value, 1)]
    while stack:
        inner, depth = stack.pop()
        if isinstance(inner, list | dict):
            spaces += 2 * depth * len(inner)
            charge(2 * depth * len(inner) * MADE)
            stack += [(each, depth + 1) for each in (inner.values() if isinstance(inner, dict) else inner)]
    return 0.0


_AMPLIFIED: Mapping[str, Callable[..., float]] = {  # how many characters they make, beyond those they are given
    "repeat": _repeat,
    **dict.fromkeys(("indent", "nindent"), _indent),
    **dict.fromkeys(("until", "untilStep", "seq"), _until),
    **dict.fromkeys(("randAlpha", "randAlphaNum", "randAscii", "randBytes", "randNumeric"), _random),
    "join": _join,
    "replace": _replace,
    "wrap": _wrap,
    "wrapWith": _wrap_with,
    **dict.fromkeys(("uniq", "mustUniq"), _uniq),
    **dict.fromkeys(("without", "mustWithout"), _without),
    **dict.fromkeys(("has", "mustHas"), _has),
    **dict.fromkeys(("semver", "semverCompare"), _version),
    "printf": _printf,
    **dict.fromkeys(("toPrettyJson", "mustToPrettyJson"), _indentation),
}


def _charged(name: str, function: Callable[..., object]) -> Callable[..., object]:
    speed, amplified, copying = _SPEEDS.get(name, _USUAL), _AMPLIFIED.get(name), name in _COPYING

    @functools.wraps(function)  # gotpl checks the number of arguments by the signature
    def call(*arguments: Any) -> object:
        given = sum([len(each) for each in arguments if type(each) is str])
        if given:
            charge(given * speed)
        if amplified is not None:
            charge(amplified(*arguments) * MADE)
        result = function(*map(plain, arguments)) if copying else function(*arguments)
        if isinstance(result, FunctionResult) and result.error is None:
            result = result.value
        if type(result) is str:
            charge(len(result) * MADE)
            return result
        return made(result)

    return call


def _from_json(function: Callable[..., object]) -> Callable[[str], object]:
    @functools.wraps(function)
    def call(text: str) -> object:
        result = function(text)
        return of_json(result.value if isinstance(result, FunctionResult) and result.error is None else result)

    return call


@functools.cache
def functions() -> Mapping[str, Callable[..., object]]:
    """All functions by name, as gotpl prepares them."""
    builtins = Template("")._runtime_functions  # the exact version of gotpl is pinned
    sprig = {**generic_func_map(), **regex.FUNCTIONS}
    for name in ("fromJson", "mustFromJson"):
        sprig[name] = _from_json(sprig[name])
    known = {name: builtins[name] for name in _BUILTINS} | sprig
    charged = {name: _charged(name, function) for name, function in known.items() if name not in REMOVED}
    prepared: Mapping[str, Callable[..., object]] = Template("", functions=charged).functions
    return prepared
