"""Tests of the handlers, without a bus."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kubecdc.function import Discard, Retry
from kubecdc.testing import context, event
from tracker.handlers import PHASE, check, save


def workflow(phase: str, version: int) -> dict[str, Any]:
    metadata = {
        "name": "build",
        "namespace": "ci",
        "uid": "u1",
        "resourceVersion": str(version),
        "labels": {PHASE: phase},
    }
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata}


def test_the_newest_state_stays(tmp_path: Path) -> None:
    database = str(tmp_path / "runs.db")
    succeeded = event("UPDATE", workflow("Succeeded", 12))
    for each in (event("ADD", workflow("Running", 9)), succeeded, succeeded, event("UPDATE", workflow("Running", 10))):
        save(each, context(), database=database)
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT name, phase, deleted FROM runs").fetchall() == [("build", "Succeeded", 0)]


def test_a_database_that_is_away_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="unable to open"):
        save(event(), context(), database=str(tmp_path / "gone" / "runs.db"))


async def test_a_workflow_of_nobody_is_refused() -> None:
    await check(event("ADD", workflow("Running", 9)), context(), team="ml")
    with pytest.raises(Discard, match="ci/build has no label `team`"):
        await check(event("ADD", workflow("Running", 9)), context())
