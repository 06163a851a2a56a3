"""deploy/README.md, walked on the full Kubernetes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.cluster import Cluster
from tests.deploy.tools import tool
from tests.deploy.walk import STEPS, walk
from tests.docs.blocks import ROOT, blocks_of

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


def test_the_page_has_these_steps_in_this_order() -> None:
    assert [*STEPS] == ["Install.", "See a change.", "See that nothing is lost.", "Check the state.", "Remove it."]


def test_the_quick_start_has_the_steps_that_are_walked() -> None:
    page = ROOT / "docs" / "quickstart.md"
    shown = [block.text for block in blocks_of(page, page.read_text()) if "test_walk.py" in block.mark]
    assert shown == [STEPS["Install."], STEPS["See a change."]]


@pytest.mark.long
async def test_who_follows_the_page_sees_what_it_says(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "kubectl"
    places = {"kubeconfig": cluster.kubeconfig, "cache": tmp_path / "cache", "node": tmp_path / "node"}
    shim.write_text(KUBECTL.format(kubectl=tool("kubectl"), **places))
    shim.chmod(0o755)
    await walk({"PATH": f"{shim.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path)})
    assert [code for _, code in cluster.node.ended] == [0, 0]
