"""How options of commands are made: with a variable in the environment, several as one, and kept in click's context."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


class _Option(click.Option):
    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        return None if value and SERVICE_LINK.match(value) else value


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """A click option that can also be set with the environment variable ``KUBECDC_<NAME>``.

    NAME is the first long name of the option, in upper case and with ``_`` for ``-``. Kubernetes sets such variables
    too, for Services called ``kubecdc-…``: those have no effect. Options that skip a question or that repair have no
    variable, so that nothing is discarded without being typed: they are plain options of click.
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    long = next(name for name in names if name.startswith("--"))
    variable = long.split("/")[0].removeprefix("--").upper().replace("-", "_")
    return click.option(*names, cls=_Option, envvar=f"KUBECDC_{variable}", show_envvar=True, **settings)


def combined(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator for several options, which `--help` lists in this order."""

    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def in_context(
    *names: str, key: str, convert: Callable[[Any], Any] = str, **settings: Any
) -> Callable[[Command], Command]:
    """An option that is not a parameter of the command. Its value is in the click context, for `from_context`."""

    def store(context: click.Context, _: click.Parameter, value: Any) -> None:
        context.meta[f"{__name__}.{key}"] = None if value is None else convert(value)

    return option(*names, expose_value=False, callback=store, **settings)


def from_context(key: str, default: Any = None) -> Any:
    """The value of an option `in_context`, or the default if the current command does not have that option."""
    return click.get_current_context().meta.get(f"{__name__}.{key}", default)


def has_option(key: str) -> bool:
    """Whether the current command has that option `in_context`, given or not."""
    return f"{__name__}.{key}" in click.get_current_context().meta
