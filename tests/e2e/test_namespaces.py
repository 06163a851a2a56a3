"""Namespaces are made, labeled, left out and deleted at random under load, while watchers and the API server die.

``KUBECDC_KILLS`` sets the number of SIGKILLs (15), ``KUBECDC_SEED`` the seed of load and faults (1).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness.api import WORKFLOWS, Api
from tests.harness.kinds import Kind
from tests.harness.namespace_trial import NamespaceTrial
from tests.harness.namespaces import NAMESPACES, SELECTOR, NamespaceLoad
from tests.harness.processes import Processes
from tests.harness.servers import Server
from tests.harness.trial import raise_stack
from tests.harness.writer import Writer

KILLS = int(os.environ.get("KUBECDC_KILLS", "15"))
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
FAULTS = {Kind.KILL_WATCHER: KILLS, Kind.KILL_SERVER: 1, Kind.RESTART_SERVER: 1, Kind.EXPIRE_HISTORY: 1}


@pytest.mark.long
@pytest.mark.timeout(120 + 8 * KILLS)
async def test_nothing_is_lost_in_namespaces_that_come_and_go(server: Server, tmp_path: Path) -> None:
    load = NamespaceLoad(seed=SEED, changes=1500, rate=1500 / max(25.0, 2.0 * KILLS))
    places = load.places()
    with Processes(tmp_path) as processes:
        async with Api(server.kubeconfig(tmp_path / "kubeconfig")) as api:
            writer, namespaces = Writer(api, WORKFLOWS), Writer(api, NAMESPACES)
            await load.prepare(namespaces, places)
            stack = await raise_stack(tmp_path, server, processes, namespaceSelector=SELECTOR)
            verdict = await NamespaceTrial(stack, writer, namespaces, places).run(load, FAULTS)
    print(f"seed {SEED}, {dict(sorted(stack.faults.items()))}, {len(writer.changes)} changes, {verdict}")
    assert verdict.wrong == [], f"seed {SEED}: {verdict}"
    assert verdict.periods > 2 * load.count, "namespaces came and went"
    assert verdict.must > len(writer.changes) / 8
