"""Walks the steps of deploy/README.md as they are written: `python -m tests.deploy.walk`, with the kubectl on PATH."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping

from tests.deploy.tools import DEPLOY, ROOT

STEPS = dict(re.findall(r"\*\*\d\. (.+?)\*\*.*?```sh\n(.+?)```", (DEPLOY / "README.md").read_text(), re.DOTALL))
AGAIN = 60.0  # seconds in which a person would look again
PAUSE = 0.5


async def walk(environment: Mapping[str, str]) -> None:
    """Each block of commands, in order. AssertionError if one fails, or does not print what the page says."""
    await _step("Install.", environment)
    await _step("See a change.", environment, '"name":"hello"')
    await _step("See that nothing is lost.", environment, '"type":"DELETE"')
    await _step("Check the state.", environment, "deployments/changed")
    await _step("Remove it.", environment)


async def _step(title: str, environment: Mapping[str, str], sees: str = "") -> None:
    """Run the commands, and the last one again until the text is there."""
    printed = await _run(STEPS[title], environment)
    try:
        async with asyncio.timeout(AGAIN):
            while sees not in printed:
                await asyncio.sleep(PAUSE)
                printed = await _run(STEPS[title].splitlines()[-1], environment)
    except TimeoutError:
        raise AssertionError(f"{title} {sees} is not in\n{printed}") from None


async def _run(commands: str, environment: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", commands),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    print(out.decode())
    assert process.returncode == 0, out.decode()
    return out.decode()


if __name__ == "__main__":
    asyncio.run(walk(os.environ))
