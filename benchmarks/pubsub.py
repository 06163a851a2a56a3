"""The Pub/Sub server of the tests as a process: ``python -m benchmarks.pubsub``."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import uvloop

from benchmarks.peer import write_port
from tests.storage.pubsub.fake import FakePubSub


async def serve(port_file: Path) -> None:
    """Forever."""
    async with FakePubSub() as server:
        write_port(port_file, int(server.address.rpartition(":")[2]))
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    uvloop.run(serve(parser.parse_args().port_file))


if __name__ == "__main__":
    main()
