"""deploy/README.md, walked as it is written on the full Kubernetes: each block of commands, one after the other."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.deploy.cluster import Cluster
from tests.deploy.tools import DEPLOY, ROOT, tool

pytestmark = pytest.mark.long

PAGE = (DEPLOY / "README.md").read_text()
STEPS = dict(re.findall(r"\*\*\d\. (.+?)\*\*.*?```sh\n(.+?)```", PAGE, re.DOTALL))
# Stands before kubectl for what a kubelet answers: `logs` prints what the process of the pod wrote, `exec` enters it.
KUBECTL = r"""#!/bin/sh
case $1 in logs|exec) ;; *) exec {kubectl} --kubeconfig {kubeconfig} --cache-dir {cache} "$@" ;; esac
pod=$({kubectl} --kubeconfig {kubeconfig} get pods -n "$3" -o name | sed -n "s#^pod/\(${{4#deployment/}}-.*\)#\1#p")
cd {node}/"$pod" || exit 1
[ "$1" = exec ] || exec cat out err
shift 5
pid=$(cat pid)
exec env -i $(tr '\0' '\n' </proc/"$pid"/environ) \
    nsenter --target "$pid" --mount --root --uts --setgid 65532 --setuid 65532 -- "$@"
"""


def test_the_page_has_steps_in_order() -> None:
    assert [*STEPS] == ["Install.", "See a change.", "See that nothing is lost.", "Ask it.", "Remove it."]


async def test_who_follows_the_page_sees_what_it_says(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "kubectl"
    places = {"kubeconfig": cluster.kubeconfig, "cache": tmp_path / "cache", "node": tmp_path / "node"}
    shim.write_text(KUBECTL.format(kubectl=tool("kubectl"), **places))
    shim.chmod(0o755)

    async def run(commands: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-ec", commands),
            cwd=ROOT,
            env={"PATH": f"{shim.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def walk(title: str, sees: str = "") -> str:
        """Run the commands, and the last one again until it prints the text: a person would look again too."""
        printed = await run(STEPS[title])
        async with asyncio.timeout(60):
            while sees not in printed:
                printed = await run(STEPS[title].splitlines()[-1])
        return printed

    await walk("Install.")
    await walk("See a change.", sees='"name":"hello"')
    await walk("See that nothing is lost.", sees='"type":"DELETE"')
    asked = await walk("Ask it.")
    assert "deployments/changed" in asked
    await walk("Remove it.")
    assert [code for _, code in cluster.node.ended] == [0, 0]
