"""The `kubecdc` command. Sub-commands are imported when they are called, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import keyword
import sys

import click

from kubecdc import __version__
from kubecdc.errors import KubecdcError, UsageError

COMMANDS = {
    "run": ("kubecdc.cli.commands.run", "Watch and work in one process."),
    "watch": ("kubecdc.cli.commands.run", "Capture changes into the bus (one leads, others stand by)."),
    "work": ("kubecdc.cli.commands.run", "Take events off the bus and run triggers (as many as you like)."),
    "validate": ("kubecdc.cli.commands.validate", "Check manifests offline and print every problem."),
    "try": ("kubecdc.cli.commands.try_", "Take an event through the Sensors, without a bus or a cluster."),
    "checkpoint": ("kubecdc.cli.commands.checkpoint", "Show, set or reset where watches stand."),
    "audit": ("kubecdc.cli.commands.audit", "Hold what was captured against the cluster."),
    "bus": ("kubecdc.cli.commands.bus", "Show subscriptions and their backlog; end the ones nobody names."),
    "dlq": ("kubecdc.cli.commands.dlq", "List, show, redrive or purge the events that were given up on."),
    "replay": ("kubecdc.cli.commands.replay", "Deliver events again that the bus still retains."),
}


class Lazy(click.Group):
    """A group whose commands are known by name and loaded by need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        attribute = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubecdc")
def cli() -> None:
    """Change data capture for Kubernetes: no change is lost, each object's stay in order."""


def main() -> None:
    """Entry point: exit code 2 for usage and manifests, 1 for the rest; no traceback for what a user can cause."""
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(2)
    except click.Abort:
        fail("aborted", 1)
    except UsageError as e:
        fail(_lines(e), 2)
    except KubecdcError as e:
        fail(_lines(e), 1)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing to say, and nobody to say it to.
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def fail(text: str, code: int) -> None:
    """Say why and end the process."""
    click.echo(f"kubecdc: {text}", err=True)
    sys.exit(code)


def _lines(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"{error}\n  hint: {hint}" if hint else str(error)
