"""Which nodes of a Workflow a retry runs again, and what it makes of the Workflow.

The rules are those of Argo Workflows (FormulateRetryWorkflow in workflow/util/util.go): a failed node and all that came
after it are removed, and what contains it runs again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from kubecdc.workers.objects.document import Document
from kubecdc.workers.triggers.argo_workflow import nodes as node_status
from kubecdc.workers.triggers.argo_workflow.changes import Change, Refused
from kubecdc.workers.triggers.argo_workflow.names import ARCHIVING, COMPLETED
from kubecdc.workers.triggers.argo_workflow.nodes import Nodes, NodesUnreadable
from kubecdc.workers.triggers.argo_workflow.pod_names import pod_name
from kubecdc.workers.triggers.argo_workflow.submission import with_parameters

FAILED = ("Failed", "Error")
_WORKING = ("Pod", "Container", "HTTP", "Plugin")
_GROUPS = ("DAG", "TaskGroup", "Steps", "StepGroup")


def retry(parameters: Mapping[str, str], workflow: Document, now: str) -> Change:
    """Run what failed again. Raises Refused."""
    status = workflow.get("status") or {}
    if status.get("phase") not in FAILED:
        raise Refused(f"cannot retry a workflow in phase {status.get('phase') or 'Unknown'}")
    try:
        nodes = node_status.read(status)
    except NodesUnreadable as e:
        raise Refused(str(e)) from None
    name = workflow["metadata"]["name"]
    tree = Tree(nodes, name)
    removed, reset = tree.plan(regroup=bool(parameters))
    exits = set(tree.exit_nodes())
    pods = sorted({pod_name(workflow, node) for i, node in nodes.items() if i in removed | exits and _is_pod(node)})
    kept = {
        i: _pruned(_reset(node, now) if i in reset else node, removed)
        for i, node in nodes.items()
        if i not in removed and not _is_exit(node, name)
    }
    labels = {k: v for k, v in (workflow["metadata"].get("labels") or {}).items() if k not in {COMPLETED, ARCHIVING}}
    made = {
        **workflow,
        "metadata": {**workflow["metadata"], "labels": labels},
        "spec": _spec(workflow.get("spec") or {}, parameters),
        "status": node_status.write(_status(status, parameters, now), kept),
    }
    return Change(made, whole=True, pods=tuple(pods))


class Tree:
    """The nodes with the links from child to parent. Raises Refused if they do not form a tree."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.nodes = nodes
        self.name = name
        self.parents = {child: i for i in sorted(nodes) for child in nodes[i].get("children") or ()}
        for i, node in nodes.items():
            if i not in self.parents and node.get("name") != name and not _is_exit(node, name):
                raise Refused(f"couldn't find parent node for {i}")
        if missing := sorted(self.parents.keys() - nodes.keys()):
            raise Refused(f"couldn't find node {missing[0]}")

    def after(self, start: str) -> set[str]:
        """All descendants."""
        found: set[str] = set()
        waiting = list(self.nodes[start].get("children") or ())
        while waiting:
            i = waiting.pop()
            if i not in found:
                found.add(i)
                waiting += self.nodes[i].get("children") or ()
        return found

    def exit_nodes(self) -> Iterator[str]:
        """The nodes of the exit handler."""
        for i, node in self.nodes.items():
            if node.get("name") == f"{self.name}.onExit":
                yield i
                yield from self.after(i)

    def plan(self, *, regroup: bool) -> tuple[set[str], set[str]]:
        """The nodes to remove, and those to run again. With ``regroup``, groups that run again lose their members."""
        removed: set[str] = set()
        reset: set[str] = set()
        for i in self._from_the_root():
            if i in removed or not self._failed(i):
                continue
            removed |= {i, *self.after(i)}
            for above, is_removed in self._above(i):
                reset.add(above)
                if is_removed:
                    removed |= {above, *self.after(above)}
        if regroup:
            for i in reset - removed:
                if self.nodes[i].get("type") in {"TaskGroup", "StepGroup"}:
                    removed |= self.after(i)
        return removed, reset - removed

    def _from_the_root(self) -> Iterator[str]:
        """The ids, those at the top first."""
        waiting = deque(i for i, node in self.nodes.items() if node.get("name") == self.name)
        if len(waiting) != 1:
            raise Refused("couldn't find the root node")
        seen = set(waiting)
        while waiting:
            i = waiting.popleft()
            yield i
            for child in self.nodes[i].get("children") or ():
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)

    def _failed(self, i: str) -> bool:
        """Whether it did work, failed, and nothing after it succeeded. An attempt is judged by its Retry node."""
        node = self.nodes[i]
        if node.get("phase") not in FAILED or node.get("type") not in _WORKING:
            return False
        judged = i
        if (node.get("nodeFlag") or {}).get("retried"):
            found = (p for p, n in self.nodes.items() if n.get("type") == "Retry" and i in (n.get("children") or ()))
            judged = next(found, i)
        return not any(self.nodes[below].get("phase") == "Succeeded" for below in self.after(judged))

    def _above(self, start: str) -> Iterator[tuple[str, bool]]:
        """What contains a node and runs again with it; True if it is removed, as the pod of a container is."""
        current: str | None = start
        steps = iter(range(2 * len(self.nodes) + 2))
        while current is not None and current in self.nodes:
            if next(steps, None) is None:
                raise Refused("its nodes contain each other")
            node = self.nodes[current]
            kind = node.get("type")
            if kind in _GROUPS:
                yield current, False
                found: list[str] = []
                current = self._boundaries(current, found)
                yield from ((i, False) for i in found)
                continue
            if kind == "Retry" and node.get("phase") in FAILED:
                yield current, False
            elif kind == "Container":
                current = self._until(current, lambda i: self.nodes[i].get("type") == "Pod")
                yield current, True
            current = self.parents.get(current)

    def _boundaries(self, current: str, found: list[str]) -> str | None:
        """Go up from a group by its boundaries. What follows those, None at the root."""
        for _ in range(len(self.nodes) + 1):
            parent = self.parents.get(current)
            if parent is not None and self.nodes[parent].get("type") == "Retry":
                found.append(parent)
                current, parent = parent, self.parents.get(parent)
            if parent is not None and self.nodes[parent].get("type") in {"StepGroup", "TaskGroup"}:
                found.append(parent)
            boundary = self.nodes[current].get("boundaryID")
            if not boundary:
                return self.parents.get(current)
            current = self._until(current, boundary.__eq__)
            found.append(current)
        raise Refused("its nodes contain each other")

    def _until(self, start: str, match: Any) -> str:
        """The first of a node and those above it that matches."""
        current: str | None = start
        for _ in range(len(self.nodes) + 1):
            if current is None:
                break
            if match(current):
                return current
            current = self.parents.get(current)
        raise Refused(f"couldn't find what contains node {start}")


def _is_pod(node: Mapping[str, Any]) -> bool:
    return node.get("type") == "Pod"


def _is_exit(node: Mapping[str, Any], name: str) -> bool:
    return str(node.get("name") or "").startswith(f"{name}.onExit")


def _reset(node: Mapping[str, Any], now: str) -> dict[str, Any]:
    made = {k: v for k, v in node.items() if k not in {"message", "finishedAt"}}
    return {**made, "phase": "Skipped" if node.get("phase") == "Skipped" else "Running", "startedAt": now}


def _pruned(node: Mapping[str, Any], removed: set[str]) -> dict[str, Any]:
    lists = {k: [i for i in node[k] if i not in removed] for k in ("children", "outboundNodes") if node.get(k)}
    return {**node, **lists}


def _spec(spec: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    made = {k: v for k, v in spec.items() if k != "shutdown"}
    if made.get("activeDeadlineSeconds") == 0:
        del made["activeDeadlineSeconds"]
    return with_parameters(made, parameters)


def _status(status: Mapping[str, Any], parameters: Mapping[str, str], now: str) -> dict[str, Any]:
    """Without a phase, as that of a new Workflow: the controller takes it up."""
    gone = {"phase", "message", "finishedAt", "persistentVolumeClaims"}
    made = {k: v for k, v in status.items() if k not in gone}
    others = [c for c in status.get("conditions") or () if c.get("type") != "Completed"]
    stored = status.get("storedWorkflowTemplateSpec")
    if stored:
        running = {k: v for k, v in stored.items() if k != "shutdown"}
        made["storedWorkflowTemplateSpec"] = with_parameters(running, parameters)
    return {**made, "conditions": [*others, {"type": "Completed", "status": "False"}], "startedAt": now}
