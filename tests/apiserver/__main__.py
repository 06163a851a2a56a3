"""``python -m tests.apiserver``: the simulator as a process of its own. One JSON line with url and port when ready."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
from pathlib import Path

import uvloop

from tests.apiserver.client import write_kubeconfig
from tests.apiserver.resources import WORKFLOW_DEFINITION, parse_definition
from tests.apiserver.server import Simulator
from tests.apiserver.users import parse_user
from tests.apiserver.watch import WatchRules


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.apiserver", description="A simulated Kubernetes API server.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port once the server listens")
    parser.add_argument("--kubeconfig", type=Path, help="where to write a kubeconfig")
    parser.add_argument("--crd", action="append", default=[], metavar="PLURAL.GROUP/VERSION:KIND")
    parser.add_argument("--no-workflows", action="store_true", help="do not serve workflows.argoproj.io from the start")
    parser.add_argument("--namespace", action="append", default=[], help="a namespace that is there from the start")
    parser.add_argument("--data", type=Path, help="keep objects and counter in this file")
    parser.add_argument("--token", action="append", help="let in this bearer token (and no one without one)")
    parser.add_argument("--user", action="append", default=[], metavar="TOKEN=USER[=GROUP,GROUP]", type=parse_user)
    parser.add_argument("--tls", type=Path, metavar="DIR", help="speak HTTPS; ca.crt and the rest go into this folder")
    parser.add_argument("--rbac", action="store_true", help="the stored Roles and bindings decide who may do what")
    parser.add_argument("--cluster", help="uid of kube-system")
    parser.add_argument("--bookmark-interval", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--initializing", type=float, default=1, metavar="SECONDS", help="429 after a restart")
    parser.add_argument("--window", type=int, default=102_400, metavar="CHANGES", help="most that a watch goes back")
    parser.add_argument("--no-managed-fields", action="store_true")
    return parser.parse_args()


def _server_context(directory: Path) -> ssl.SSLContext:
    from tests.apiserver.certificates import server_context  # cryptography is not needed without

    return server_context(directory)


async def serve(args: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    definitions = [parse_definition(text) for text in args.crd]
    if not args.no_workflows:
        definitions.insert(0, WORKFLOW_DEFINITION)
    restarted = bool(args.data and args.data.exists())
    simulator = Simulator(
        definitions=definitions,
        namespaces=args.namespace,
        tokens=args.token and [*args.token, *dict(args.user)],
        users=dict(args.user),
        rbac=args.rbac,
        tls=_server_context(args.tls) if args.tls else None,
        cluster=args.cluster,
        data=args.data,
        rules=WatchRules(bookmark_interval=args.bookmark_interval),
        window=(min(100, args.window), args.window),
        managed_fields=not args.no_managed_fields,
        initializing=args.initializing,
    )
    await simulator.start(args.port)
    if restarted:
        simulator.faults.initialize(args.initializing)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    url = f"{'https' if args.tls else 'http'}://127.0.0.1:{simulator.port}"
    if args.kubeconfig:
        trusted = {"certificate-authority": str(args.tls.resolve() / "ca.crt")} if args.tls else None
        user = {"token": args.token[0]} if args.token else None
        write_kubeconfig(args.kubeconfig, url, user=user, cluster=trusted)
    if args.port_file:
        draft = args.port_file.with_suffix(".tmp")
        draft.write_text(f"{simulator.port}\n")
        draft.replace(args.port_file)
    print(json.dumps({"url": url, "port": simulator.port, "pid": os.getpid()}), flush=True)
    await stopped.wait()
    await simulator.stop()


if __name__ == "__main__":
    uvloop.run(serve(parse()))
