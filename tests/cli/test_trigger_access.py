"""`kubecdc validate --cluster` also asks for the permissions that triggers need."""

from __future__ import annotations

from tests.apiserver import NAMESPACES, LocalSimulator
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import ALICE, SENSOR, Desk
from tests.workers.test_plugins import TYPES, provide


async def test_a_permission_that_a_trigger_lacks_is_one_line_with_the_command_that_grants_it(
    api: LocalSimulator, alice: Desk
) -> None:
    folder = alice.folder / "packages"
    folder.mkdir()
    (folder / "some_types.py").write_text(TYPES)
    provide(folder, "one", good="some_types:Good")
    alice.environment["PYTHONPATH"] = str(folder)
    alice.write("sensor.yaml", SENSOR.replace("log: {}", "good: {}"))
    await bind(api, ALICE, READ)
    done = await alice.call("validate", "--cluster")
    assert done.code == 1
    [line] = done.err.splitlines()[1:]
    assert line.startswith(
        "Sensor print, spec.triggers[0].template.good: not allowed to get, create jobs.batch in namespace one; "
        "`kubectl create role kubecdc-jobs -n one --verb=get,create --resource=jobs.batch` and "
    )
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]}
    await api.create(*NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one"}})
    await bind(api, ALICE, [jobs], namespace="one")
    done = await alice.call("validate", "--cluster")
    assert (done.code, done.err) == (0, "")
