"""Server-side apply: who owns which field, and what follows from it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.apiserver import CONFIGMAPS, WORKFLOWS, LocalSimulator, RequestFailed, path_of, simulator, workflow

APPLY = "application/apply-patch+yaml"
ONE = path_of(*WORKFLOWS, "default", "one")


async def apply(api: LocalSimulator, manager: str, *, force: bool = False, **spec: Any) -> dict[str, Any]:
    query = {"fieldManager": manager, **({"force": "true"} if force else {})}
    body = workflow("one", **spec)
    applied: dict[str, Any] = await api.ask("PATCH", ONE, body, content_type=APPLY, **query)
    return applied


def owners(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of the spec that each manager owns."""
    return {e["manager"]: e["fieldsV1"].get("f:spec") for e in body["metadata"].get("managedFields", [])}


async def test_what_a_manager_applies_no_more_is_removed_unless_another_owns_it() -> None:
    async with simulator() as api:
        await apply(api, "a", size=1, shared=1, deep={"x": 1, "y": 1})
        both = await apply(api, "b", shared=1, deep={"y": 1})
        assert owners(both)["b"] == {"f:shared": {}, "f:deep": {".": {}, "f:y": {}}}
        left = await apply(api, "a", size=1)
        assert left["spec"] == {"size": 1, "shared": 1, "deep": {"y": 1}}
        assert owners(left) == {"a": {"f:size": {}}, "b": owners(both)["b"]}
        gone = await apply(api, "b")
        assert gone["spec"] == {"size": 1}


async def test_fields_of_others_conflict_where_the_value_differs_and_force_takes_them() -> None:
    async with simulator() as api:
        await apply(api, "a", x=1, y=1, z=1)
        await api.ask("PATCH", ONE, {"spec": {"z": 2}}, content_type="application/merge-patch+json", fieldManager="c")
        with pytest.raises(RequestFailed) as conflict:
            await apply(api, "b", x=2, y=1, z=3)
        status = conflict.value.status
        assert (status["code"], status["reason"]) == (409, "Conflict")
        assert status["details"]["causes"] == [
            {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".spec.x"},
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "c" using argoproj.io/v1alpha1',
                "field": ".spec.z",
            },
        ]
        assert status["message"].startswith('Apply failed with 2 conflicts: conflicts with "a":\n- .spec.x\n')
        forced = await apply(api, "b", force=True, x=2, y=1, z=3)
        assert forced["spec"] == {"x": 2, "y": 1, "z": 3}
        assert owners(forced) == {"a": {"f:y": {}}, "b": {"f:x": {}, "f:y": {}, "f:z": {}}}


async def test_an_apply_that_changes_nothing_keeps_the_version() -> None:
    async with simulator() as api:
        first = await apply(api, "a", size=1)
        assert await apply(api, "a", size=1) == first
        assert api.log(int(first["metadata"]["resourceVersion"])) == []


async def test_an_object_that_nobody_kept_track_of_belongs_to_a_manager_before_the_first_apply() -> None:
    async with simulator() as api:
        await api.create(*WORKFLOWS, "default", workflow("one", size=1))
        forgotten = await api.patch(*WORKFLOWS, "default", "one", {"metadata": {"managedFields": [{}]}})
        assert owners(forgotten) == {}
        with pytest.raises(RequestFailed, match=r'conflict with "before-first-apply" using argoproj\.io/v1alpha1'):
            await apply(api, "a", size=2)


async def test_an_apply_reads_yaml_and_names_its_manager_and_nothing_else_may_force() -> None:
    text = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: one}\nspec: {at: 2026-01-01}\n"
    async with simulator() as api, aiohttp.ClientSession(api.url) as session:
        head = {"Content-Type": APPLY}
        async with session.patch(ONE, data=text, headers=head) as nameless:
            assert (nameless.status, (await nameless.json())["details"]["causes"][0]["field"]) == (422, "fieldManager")
        async with session.patch(f"{ONE}?fieldManager=a", data=text, headers=head) as made:
            assert (made.status, (await made.json())["spec"]) == (201, {"at": "2026-01-01"})
        async with session.patch(f"{ONE}?fieldManager=a", data="a: [", headers=head) as garbage:
            assert garbage.status == 400
        merge = {"Content-Type": "application/merge-patch+json"}
        async with session.patch(f"{ONE}?force=true", data="{}", headers=merge) as forced:
            assert (forced.status, (await forced.json())["details"]["causes"][0]["field"]) == (422, "force")


async def test_a_strategic_merge_patch_is_a_merge_patch_for_built_in_kinds_and_its_directives_are_refused() -> None:
    strategic = "application/strategic-merge-patch+json"
    async with simulator() as api:
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}}
        await api.create(*CONFIGMAPS, "default", config)
        path = path_of(*CONFIGMAPS, "default", "c")
        patched = await api.ask("PATCH", path, {"data": {"a": None, "c": "1"}}, content_type=strategic)
        assert patched["data"] == {"b": "1", "c": "1"}
        with pytest.raises(RequestFailed, match=r"501.*\$retainKeys"):
            await api.ask("PATCH", path, {"data": {"$retainKeys": ["a"]}}, content_type=strategic)
        await api.create(*WORKFLOWS, "default", workflow("one", size=1))
        with pytest.raises(RequestFailed, match="415"):
            await api.ask("PATCH", ONE, {"spec": {"size": 2}}, content_type=strategic)
