"""The `kubecdc` command. Subcommands are imported when they are called, so that `--help` is fast."""

from __future__ import annotations

from kubecdc.cli import early

early.obey_sigterm()  # before what takes a while: until then, PID 1 misses the signal

import gc  # noqa: E402
import importlib  # noqa: E402
import keyword  # noqa: E402
import sys  # noqa: E402
from types import ModuleType  # noqa: E402

import click  # noqa: E402

from kubecdc import __version__, nesting  # noqa: E402
from kubecdc.cli.printable import printable  # noqa: E402
from kubecdc.errors import KubecdcError, UsageError  # noqa: E402

LINE_END = "\n"
INTERRUPTED = 130  # as a shell says it of a command that SIGINT has ended
COMMANDS = {
    "run": ("kubecdc.cli.commands.run", "Run `watch` and `work` in one process."),
    "watch": ("kubecdc.cli.commands.run", "Capture changes into the bus. One process leads, others stand by."),
    "work": ("kubecdc.cli.commands.run", "Deliver events from the bus to triggers, in any number of processes."),
    "status": ("kubecdc.cli.commands.status", "Show what is wrong, why, and which command to run next."),
    "validate": ("kubecdc.cli.commands.validate", "Check manifests offline and print every problem."),
    "rbac": ("kubecdc.cli.commands.rbac", "Print the Roles and bindings that the manifests need."),
    "try": ("kubecdc.cli.commands.try_", "Test the Sensors with an event, without a bus or a cluster."),
    "checkpoint": ("kubecdc.cli.commands.checkpoint", "Show, set or reset the positions of watches."),
    "audit": ("kubecdc.cli.commands.audit", "Compare the captured state with the cluster."),
    "bus": ("kubecdc.cli.commands.bus", "Show subscriptions and their backlog, remove unused ones."),
    "dlq": ("kubecdc.cli.commands.dlq", "List, show, redrive or purge dead letters."),
    "replay": ("kubecdc.cli.commands.replay", "Deliver retained events again."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called. Names and summaries come from `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        attribute = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(_imported(COMMANDS[cmd_name][0]), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _imported(name: str) -> ModuleType:
    """The module. What is imported stays: to look through it for garbage would take a quarter of a short command."""
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubecdc")
def cli() -> None:
    """Change data capture for Kubernetes. No change is lost, and the changes of each object stay in order."""


def main() -> None:
    """Run the command line. Exits with 2 for usage and manifest errors, 130 after Ctrl-C, 1 for other errors.

    Expected errors are printed without a traceback.
    """
    early.occupy_streams()
    nesting.allow()
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(2)
    except click.Abort as e:
        if isinstance(e.__cause__, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        fail("aborted", 1)
    except KubecdcError as e:
        sys.exit(told(e))
    except BrokenPipeError:
        # The reader of standard output has exited (`| head`). There is nothing left to print.
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def fail(text: str, code: int) -> None:
    """Print the error and end the process."""
    click.echo(f"kubecdc: {printable(text)}", err=True)
    sys.exit(code)


def told(error: KubecdcError) -> int:
    """Print the error and its hint. Returns the exit code."""
    hint = f"\n  hint: {error.hint}" if error.hint else ""
    click.echo(f"kubecdc: {printable(f'{error}{hint}', keep=LINE_END)}", err=True)
    return 2 if isinstance(error, UsageError) else 1
