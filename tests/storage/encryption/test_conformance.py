"""The suite that every back end passes, with encryption around it: on SQLite, and what is short of it on Redis.

What of it writes or reads bodies runs on RQ, SQS and Pub/Sub, too, in the folders of their tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.storage.testing import CASES, Case
from tests.storage.conftest import RedisHarness, SqliteHarness
from tests.storage.encrypted import run_encrypted
from tests.storage.test_conformance import SHORT


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_sqlite(case: Case, harness: SqliteHarness, tmp_path: Path) -> None:
    await run_encrypted(case, harness, tmp_path)


@pytest.mark.parametrize("name", SHORT)
async def test_redis(name: str, redis_harness: RedisHarness, tmp_path: Path) -> None:
    await run_encrypted(next(case for case in CASES if case.name == name), redis_harness, tmp_path)
