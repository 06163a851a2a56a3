"""The options that limit where triggers may connect to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from kubecdc.cli.option import option
from kubecdc.workers.addresses import ALLOW, DENY, Addresses

Command = TypeVar("Command", bound=Callable[..., Any])

_allow = option(
    ALLOW,
    "allow",
    multiple=True,
    metavar="NETWORK|NAME,...",
    help="The only destinations of triggers: networks, addresses and host names, such as "
    "10.1.0.0/16,*.example.com. Repeatable.",
)
_deny = option(
    DENY,
    "deny",
    multiple=True,
    metavar="NETWORK,...",
    help="Destinations that triggers never connect to, whatever their name: networks and addresses, such as "
    "169.254.0.0/16. Repeatable.",
)


def addresses(command: Command) -> Command:
    """The options, as an argument ``addresses`` of the command."""

    @functools.wraps(command)
    def with_addresses(*args: Any, allow: tuple[str, ...], deny: tuple[str, ...], **given: Any) -> Any:
        try:
            rules = Addresses.parse(allow, deny)
        except ValueError as e:
            raise click.UsageError(f"{ALLOW} and {DENY}: {e}") from e
        return command(*args, addresses=rules, **given)

    return cast("Command", _allow(_deny(with_addresses)))
