"""The same requests to the simulator and to a real server, one by one: the same answers.

Beyond the recorded cases: the rarer errors, finalizers, subresources, managers of fields, selectors.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tests.apiserver import CRDS, Client, LocalSimulator, RealApiServer, WatchRules, definition, require_assets
from tests.apiserver.comparison import Comparison, Difference

W = "/apis/argoproj.io/v1alpha1/namespaces/default/workflows"
J = "/apis/batch/v1/namespaces/default/jobs"
C = "/api/v1/namespaces/default/configmaps"
NOWHERE = "/api/v1/namespaces/nowhere/configmaps"
T = "/apis/example.com/v1/namespaces/default/things"
G = "/apis/example.org/v1/namespaces/default/gadgets"
L = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
MERGE = "application/merge-patch+json"
NO_UID = "00000000-0000-0000-0000-000000000000"
OWNER = {"apiVersion": "nosuch.io/v1", "kind": "Owner", "name": "p", "uid": NO_UID}
"""Of a kind that nobody serves: what names an owner that is known to be gone is removed by the garbage collector."""
KIND = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}
THING = {"apiVersion": "example.com/v1", "kind": "Thing"}
GADGET = {"apiVersion": "example.org/v1", "kind": "Gadget"}
LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
JOB = {"apiVersion": "batch/v1", "kind": "Job"}
CONFIGMAP = {"apiVersion": "v1", "kind": "ConfigMap"}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer"},
                "ratio": {"type": "number"},
                "port": {"x-kubernetes-int-or-string": True},
                "names": {"type": "array", "items": {"type": "string"}},
                "extra": {"type": "object", "additionalProperties": {"type": "boolean"}},
            },
        }
    },
}

THINGS = definition("things", "example.com", "v1", "Thing", schema=SCHEMA)
GADGETS = definition("gadgets", "example.org", "v1", "Gadget")
GADGETS["spec"]["versions"][0]["subresources"] = {"status": {}}

Request = tuple[str, str, Any, str]


def post(path: str, body: Any, content_type: str = "application/json") -> Request:
    return "POST", path, body, content_type


def put(path: str, body: Any) -> Request:
    return "PUT", path, body, "application/json"


def patch(path: str, body: Any, content_type: str = MERGE) -> Request:
    return "PATCH", path, body, content_type


def delete(path: str, body: Any = None) -> Request:
    return "DELETE", path, body, "application/json"


def get(path: str) -> Request:
    return "GET", path, None, ""


def made(name: str, **more: Any) -> dict[str, Any]:
    """A Workflow with more metadata."""
    return {**KIND, "metadata": {"name": name, **more}, "spec": {}}


REQUESTS: list[Request] = [
    # creation
    post(W, {**made("a", labels={"x": "1", "n": "5"}, annotations={"u": "<&>é"}), "spec": {"n": 1.5, "s": "<"}}),
    post(W, {**made("pruned"), "junk": 1}),
    post(W, {**KIND, "kind": "Other", "metadata": {"name": "x"}}),
    post(W, {"kind": "Workflow", "metadata": {"name": "x"}}),
    post(W, {"apiVersion": "argoproj.io/v1alpha1", "metadata": {"name": "x"}}),
    post(W, made("x", namespace="other")),
    post(W, {**KIND, "metadata": {}, "spec": {}}),
    post(W, made("x", resourceVersion="5")),
    post(W, made("x", labels={"a": 1})),
    post(W, {**made("x"), "spec": "str"}),
    post(W, {**made("X_"), "spec": "str"}),
    post(W, made("x", labels={"a b": "c d"})),
    post(W, "{"),
    post(W, " "),
    post(W, "{}", "application/xml"),
    post("/apis/argoproj.io/v1alpha1/workflows", made("x")),
    # update and patch
    put(f"{W}/b", made("a")),
    put(f"{W}/none", made("none", resourceVersion="5")),
    put(f"{W}/a", made("a", resourceVersion="abc")),
    put(f"{W}/a", made("a", resourceVersion="99999999")),
    put(W, {}),
    patch(f"{W}/none", {}),
    patch(f"{W}/a", {"metadata": {"uid": NO_UID}}),
    patch(f"{W}/a", {"metadata": {"name": "zz"}}),
    patch(f"{W}/a", {"metadata": {"generation": 77, "creationTimestamp": None, "namespace": None}}),
    patch(f"{W}/a", {"spec": None}),
    patch(f"{W}/a", "{x"),
    patch(f"{W}/a", []),
    patch(f"{W}/a", {"metadata": {"resourceVersion": "1"}}),
    patch(f"{W}/a", {}, "application/json"),
    patch(f"{W}/a?fieldManager=second", {"spec": {"n": 2, "more": {"deep": [1]}}, "metadata": {"labels": {"y": "2"}}}),
    patch(f"{W}/a?fieldManager=third", {"spec": {"s": None, "more": {"deep": [1, 2]}}}),
    patch(f"{W}/a", {"metadata": {"labels": {"x": None, "y": None, "n": "5"}, "annotations": None}}),
    patch(f"{W}/a", {"metadata": {"ownerReferences": [OWNER]}}),
    patch(f"{W}/a", [{"op": "add", "path": "/spec/list", "value": [1, 2]}], "application/json-patch+json"),
    patch(f"{W}/a", [{"op": "remove", "path": "/spec/list/0"}], "application/json-patch+json"),
    patch(f"{W}/a", [{"op": "add", "path": "/metadata/labels/x", "value": "1"}], "application/json-patch+json"),
    # finalizers and deletion
    post(W, made("f", finalizers=["test/hold"])),
    delete(f"{W}/f", {"preconditions": {"resourceVersion": "1"}}),
    delete(f"{W}/f"),
    delete(f"{W}/f"),
    patch(f"{W}/f", {"metadata": {"finalizers": ["test/hold", "test/two"]}}),
    patch(f"{W}/f", {"metadata": {"finalizers": []}}),
    get(f"{W}/f"),
    delete(f"{W}/none"),
    # the status subresource
    post(G, {**GADGET, "metadata": {"name": "g"}, "spec": {"a": 1}, "status": {"x": 1}}),
    patch(f"{G}/g/status", {"spec": {"a": 2}, "status": {"x": 2}}),
    patch(f"{G}/g", {"metadata": {"labels": {"l": "2"}}, "status": {"x": 3}}),
    patch(f"{G}/g", {"spec": {"a": 3}}),
    get(f"{G}/g/status"),
    get(f"{W}/a/nope"),
    get(f"{W}/a/status"),
    # built-in kinds
    post(J, {**JOB, "metadata": {"name": "j"}}),
    post(J, {**JOB, "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
    post(C, {**CONFIGMAP, "metadata": {"name": "c", "labels": {"l": "1"}}, "data": {"a": "1"}}),
    post(C, {**CONFIGMAP, "metadata": {"name": "c"}}),
    post(C, {**CONFIGMAP, "metadata": {"name": "C_"}}),
    post(C, {**CONFIGMAP, "metadata": {"name": "big"}, "data": {"a": "x" * 1_048_577}}),
    patch(f"{C}/c", {"data": {"b": "2"}}),
    get(f"{C}?labelSelector=l%3D1"),
    get(f"{C}?labelSelector=l%3D2"),
    get(f"{C}/none"),
    delete(f"{C}/c", {"preconditions": {"uid": NO_UID}}),
    # namespaces
    post("/api/v1/namespaces", {**NAMESPACE, "metadata": {"name": "new", "labels": {"l": "1"}}}),
    post("/api/v1/namespaces", {**NAMESPACE, "metadata": {"name": "new"}}),
    get("/api/v1/namespaces?fieldSelector=metadata.name%3Dnew"),
    post("/apis/argoproj.io/v1alpha1/namespaces/new/workflows", made("in-new")),
    get(NOWHERE),
    get(f"{NOWHERE}/x"),
    post(NOWHERE, {**CONFIGMAP, "metadata": {"name": "x"}}),
    post(NOWHERE, {**CONFIGMAP, "metadata": {"name": "X_"}}),
    post(NOWHERE, "{"),
    post("/apis/argoproj.io/v1alpha1/namespaces/nowhere/workflows", made("x")),
    patch(f"{NOWHERE}/x", {}),
    patch(f"{NOWHERE}/x?fieldManager=a", {**CONFIGMAP, "metadata": {"name": "x"}}, "application/apply-patch+yaml"),
    delete(NOWHERE),
    delete("/api/v1/namespaces/default"),
    delete("/api/v1/namespaces/nowhere"),
    # schemas
    post(T, {**THING, "metadata": {"name": "t"}, "spec": {"size": 1, "ratio": 1, "port": "p", "names": [], "no": 1}}),
    post(T, {**THING, "metadata": {"name": "u"}, "spec": {"size": "1"}}),
    post(T, {**THING, "metadata": {"name": "u"}, "spec": {"size": 1, "names": [1]}}),
    post(T, {**THING, "metadata": {"name": "u"}, "spec": {"size": 1, "extra": {"a": 1}}}),
    post(T, {**THING, "metadata": {"name": "u"}, "spec": {}}),
    post(T, {**THING, "metadata": {"name": "u"}, "spec": {"size": 1.5}}),
    post(T, {**THING, "metadata": {"name": "u"}, "spec": {"size": 1, "port": True}}),
    patch(f"{T}/t", {"spec": {"size": None}}),
    patch(f"{T}/t", {"spec": {"extra": {"a": True}, "unknown": {"b": 1}}}),
    # reading
    get(f"{W}/a?resourceVersion=abc"),
    get(f"{W}/a?resourceVersion=0"),
    get(f"{W}?limit=1&resourceVersion=0"),
    get(f"{W}?resourceVersion=0&resourceVersionMatch=Exact"),
    get(f"{W}?resourceVersion=0&resourceVersionMatch=Nope"),
    get(f"{W}?continue=x&resourceVersionMatch=Exact"),
    get(f"{W}?sendInitialEvents=true"),
    get(f"{W}?resourceVersion=-1"),
    get(f"{W}?limit=-1"),
    get(f"{W}?limit=1&continue=e30"),
    get(f"{W}?limit=1&continue=%25%25"),
    get(f"{W}?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjIiLCJydiI6NzcsInN0YXJ0IjoiL2FcdTAwMDAifQ"),
    get(f"{W}?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NzcsInN0YXJ0IjoiIn0"),
    get(f"{W}?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiIvYSJ9"),
    get(f"{W}?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nzc3NzcsInN0YXJ0IjoiL2EifQ"),
    get("/apis/argoproj.io"),
    get("/apis/example.com/v1"),
    get("/apis/none.io"),
    get("/api/v1/namespaces/none"),
    get("/apis/batch/v1/jobs?fieldSelector=metadata.name%3Dj"),
    get("/version"),
    # watches
    get(f"{W}?watch=1&timeoutSeconds=x"),
    get(f"{W}?watch=1&timeoutSeconds=1&resourceVersionMatch=NotOlderThan"),
    get(f"{W}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=Exact"),
    get(f"{W}?watch=1&timeoutSeconds=1&labelSelector=a%3D%3D%3Db"),
    get(f"{W}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"),
    get(f"{W}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0"),
    get(f"{W}?watch=1&timeoutSeconds=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"),
    get(f"{W}/a?watch=1"),
    delete(f"{W}?labelSelector=x%3D1"),
]  # fmt: skip


def apply(path: str, metadata: dict[str, Any], spec: Any = None, **more: Any) -> Request:
    """An apply of a Workflow, or of what ``more`` says."""
    body = {**KIND, "metadata": metadata, **({} if spec is None else {"spec": spec}), **more}
    return "PATCH", path, body, "application/apply-patch+yaml"


OWNED = {"name": "own", "labels": {"a": "1"}, "finalizers": ["test/a"], "ownerReferences": [OWNER]}
APPLIED: list[Request] = [
    apply(f"{W}/own", {"name": "own"}, {"n": 1}),
    patch(f"{W}/own?force=true", {}),
    apply(f"{W}/own?fieldManager=a", {"name": "own", "uid": NO_UID}, {"n": 1}),
    apply(f"{W}/own?fieldManager=a", {"name": "other"}, {"n": 1}),
    apply(f"{W}/own?fieldManager=a", {"name": "own", "managedFields": []}, {"n": 1}),
    apply(f"{W}/own?fieldManager=a", {"name": "own"}, {"n": 1}, apiVersion="argoproj.io/v2"),
    apply(f"{W}/own?fieldManager=a", {"name": "own", "resourceVersion": "5"}, {"n": 1}),
    apply(f"{W}/own?fieldManager=a", {"name": "own", "uid": NO_UID}, {"n": 1}),
    apply(f"{W}/BAD_?fieldManager=a", {"name": "BAD_"}, {"n": 1}),
    apply(f"{W}/own?fieldManager=a", {"name": "own"}),
    apply(f"{W}/own?fieldManager=a", OWNED, {"n": 1, "l": [1, {"x": 1}], "m": {"k": 1, "e": {}}, "z": None}),
    apply(f"{W}/own?fieldManager=a", OWNED, {"n": 1, "l": [1, {"x": 1}], "m": {"k": 1, "e": {}}, "z": None}),
    apply(f"{W}/own?fieldManager=b", {"name": "own"}, {"n": 1}),
    apply(f"{W}/own?fieldManager=b", {"name": "own", "labels": {"b": "1"}}, {"n": 2, "l": [], "m": {"k": 2}}),
    apply(f"{W}/own?fieldManager=b&force=true", {"name": "own", "finalizers": ["test/b"]}, {"n": 2, "m": {"j": 2}}),
    apply(f"{W}/own?fieldManager=a", {"name": "own"}, {"l": [2]}),
    get(f"{W}/own"),
    apply(f"{W}/own?fieldManager=b", {"name": "own"}, {}),
    patch(f"{W}/own?fieldManager=c", {"spec": {"n": 5, "l": [3], "m": {"deep": {"er": 1}}}}),
    apply(f"{W}/own?fieldManager=a", {"name": "own"}, {"l": [4], "n": 6, "m": {"deep": 1}}),
    apply(f"{W}/own?fieldManager=a&force=1", {"name": "own"}, {"l": [4], "m": {"deep": 1}}),
    patch(f"{W}/own?fieldManager=c", {"spec": {"m": None}}),
    apply(f"{W}/own?fieldManager=a", {"name": "own", "resourceVersion": "1"}, {"n": 9}),
    apply(f"{W}/own?fieldManager=a", {"name": "own", "uid": NO_UID}, {"n": 9}),
    patch(f"{W}/own", {"metadata": {"managedFields": [{}]}}),
    apply(f"{W}/own?fieldManager=d", {"name": "own"}, {"n": 1, "l": [4]}),
    patch(f"{W}/own", {"metadata": {"managedFields": None}}),
    patch(f"{W}/own", {"spec": {"n": 10}}),
    apply(f"{W}/own?fieldManager=d", {"name": "own"}, {"n": 10}),
    patch(f"{W}/own", {"metadata": {"managedFields": None}}),
    patch(f"{W}/yaml?fieldManager=a",
          "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: yaml}\nspec: {at: 2026-01-01}\n",
          "application/apply-patch+yaml"),
    apply(f"{G}/s?fieldManager=a", {"name": "s"}, {"n": 1, "m": {"x": 1}}, **GADGET, status={"x": 1}),
    apply(f"{G}/s/status?fieldManager=a", {"name": "s", "labels": {"l": "1"}}, {"n": 2}, **GADGET, status={"x": 1}),
    apply(f"{G}/s/status?fieldManager=b", {"name": "s"}, **GADGET, status={"x": 2}),
    apply(f"{G}/s/status?fieldManager=b&force=true", {"name": "s"}, **GADGET, status={"x": 2}),
    patch(f"{G}/s/status", {"status": {"x": 3}}),
    apply(f"{G}/s/status?fieldManager=b", {"name": "s"}, **GADGET, status={"x": 2, "y": 1}),
    apply(f"{G}/none/status?fieldManager=b", {"name": "none"}, **GADGET, status={"x": 2}),
    patch(f"{C}/c", {"data": {"b": None, "c": "3"}}, "application/strategic-merge-patch+json"),
    apply(f"{T}/s?fieldManager=a", {"name": "s"}, {"size": 1, "names": ["a"]}, **THING, junk=1),
    apply(f"{T}/s?fieldManager=a", {"name": "s"}, {"size": 1, "no": 1}, **THING),
    post(f"{T}?fieldValidation=Strict", {**THING, "metadata": {"name": "v"}, "spec": {"size": 1, "no": 1}}),
    post(f"{T}?fieldValidation=Ignore", {**THING, "metadata": {"name": "v"}, "spec": {"size": 1, "no": 1}}),
    patch(f"{T}/v?fieldValidation=Strict", {"spec": {"no": 1}}),
    patch(f"{T}/v?fieldValidation=Strict", [{"op": "add", "path": "/spec/no", "value": 1}],
          "application/json-patch+json"),
    # leases, reviews, and what kubectl asks
    post(L, {**LEASE, "metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}),
    put(f"{L}/l", {**LEASE, "metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}}),
    patch(f"{L}/l", {"spec": {"holderIdentity": "c"}}),
    apply(f"{L}/l?fieldManager=a", {"name": "l"}, {"holderIdentity": "d"}, **LEASE),
    post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
         {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}),
    post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
         {"kind": "SelfSubjectAccessReview", "spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}}),
    apply(f"{T}/s?fieldManager=a", {"name": "s"}, {"size": 1, "names": ["a"]}, **THING),
    apply(f"{T}/s?fieldManager=b", {"name": "s"}, {"size": 1, "names": ["b"]}, **THING),
    apply(f"{T}/s?fieldManager=b&force=true", {"name": "s"}, {"names": ["b"]}, **THING),
    apply(f"{T}/s?fieldManager=a", {"name": "s"}, {"extra": {"a": True}}, **THING),
]  # fmt: skip

LABEL_SELECTORS = [
    "a=b=c", "a>b", "a>5", "a in (x", "a in x", "=b", "a b", "a,", ",a", "a in ()", "a notin (b,)", "A_%:", "n>4",
    "n>5", "n<6,x=1", "!x,y!=1", "x in(1)", "a=b c", "a&b", "!", "x=-", "x in (1,2),n", "example.com/x!=1", "x = 1",
    "x==1", "x notin (1)", "n gt 4", "a in (b c)", "a in (,b)", "(a)", "a!b", "!a=b",
]  # fmt: skip
FIELD_SELECTORS = [
    "metadata.name=a", "metadata.name!=a", "metadata.name==a,metadata.namespace=default", "metadata.name",
    "metadata.name>a", "spec.x=1", "metadata.uid=x", "metadata.name=a\\,b", "metadata.name=a=b", ",",
    "metadata.namespace!=default",
]  # fmt: skip
SELECTIONS = [f"{W}?labelSelector={quote(s)}" for s in LABEL_SELECTORS] + [
    f"{W}?fieldSelector={quote(s)}" for s in FIELD_SELECTORS
]


async def answer(session: aiohttp.ClientSession, server: Client, request: Request) -> tuple[int, dict[str, str], Any]:
    """Status, headers and decoded body; of a watch the list of its lines."""
    method, path, body, content_type = request
    headers = {"Accept": "application/json", **({"Content-Type": content_type} if body is not None else {})}
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    url = URL(server.url + path, encoded=True)
    data = None if text is None else io.BytesIO(text.encode())
    async with session.request(
        method, url, data=data, headers=headers, ssl=getattr(server, "ssl", None) or True
    ) as reply:
        raw = await reply.text()
        if "watch=1" in path and reply.status == 200:
            return reply.status, dict(reply.headers), [json.loads(line) for line in raw.splitlines()]
        if reply.content_type == "application/json":
            return reply.status, dict(reply.headers), json.loads(raw)
        return reply.status, dict(reply.headers), raw


def _document(text: Any) -> Any:
    """An OpenAPI document, without what tells its state."""
    found = json.loads(text) if isinstance(text, str) else text
    for where in found["paths"].values():
        if "serverRelativeURL" in where:
            where["serverRelativeURL"] = where["serverRelativeURL"].partition("?")[0]
    return found


def is_part(part: Any, whole: Any) -> bool:
    """Whether all that is said is said in the whole too: fields, and entries of lists."""
    match part, whole:
        case dict(), dict():
            return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
        case list(), list():
            return all(any(is_part(entry, other) for other in whole) for entry in part)
        case _:
            return bool(part == whole)


@pytest.mark.long
async def test_the_simulator_answers_as_a_real_server_does(tmp_path: Path) -> None:
    require_assets()
    real, simulated = RealApiServer(tmp_path), LocalSimulator(rules=WatchRules())
    await real.start()
    await simulated.start()
    comparison, differences = Comparison(), []
    try:
        for server in (simulated, real):
            await server.create(*CRDS, "", THINGS)
            await server.create(*CRDS, "", GADGETS)
        await real.until_served(T)
        await real.until_served(G)
        skipped = ["User-Agent", "Accept-Encoding", "Content-Type"]
        async with aiohttp.ClientSession(skip_auto_headers=skipped) as session:
            for request in [*REQUESTS[:-1], *APPLIED, *map(get, SELECTIONS), REQUESTS[-1]]:
                status, headers, body = await answer(session, real, request)
                now, found, replayed = await answer(session, simulated, request)
                try:
                    where = f"{request[0]} {request[1]} {request[2] or ''}"
                    comparison.head(
                        {"status": status, "headers": headers}, now, {k.lower(): v for k, v in found.items()}, where
                    )
                    comparison.compare(body, replayed, where)
                except Difference as e:
                    differences.append(str(e))
            for path in ("/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/batch/v1"):
                status, headers, body = await answer(session, real, get(path))
                now, found, replayed = await answer(session, simulated, get(path))
                heads = (status, headers["Content-Type"]), (now, found["Content-Type"])
                if heads[0] != heads[1] or not is_part(_document(replayed), _document(body)):
                    differences.append(f"{path}: {replayed} is no part of what the real server says")
    finally:
        await simulated.stop()
        await real.stop()
    assert not differences, "\n".join(differences)
