"""Which files are opened, and how."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import apsw
import pytest

from kubecdc.errors import KubecdcError, Refused, UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.file.schema import APPLICATION_ID, VERSION
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Leader, event
from tests.harness.other_program import other_program
from tests.storage.conftest import SqliteHarness


async def refusal(path: Path, kind: type[KubecdcError]) -> KubecdcError:
    with pytest.raises(kind) as caught:
        await open_bus(SqliteSettings(path), holder="me")
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


async def test_only_the_owner_may_read_the_files(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SubscriptionSpec("billing", SOURCE, SUBJECT)])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in harness.path.parent.iterdir()}
    assert set(modes) == {"bus.db", "bus.db-wal", "bus.db-shm", "bus.db.leader"}
    assert set(modes.values()) == {0o600}


async def test_a_commit_is_synced_and_a_shrinking_file_is_possible(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    pragmas = ["synchronous", "journal_mode", "auto_vacuum", "application_id", "user_version"]
    found = await bus._writer.submit(lambda db: [db.pragma(name) for name in pragmas])
    assert found == [2, "wal", 2, APPLICATION_ID, VERSION]


async def test_closing_leaves_one_file_with_everything(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SubscriptionSpec("billing", SOURCE, SUBJECT)])
    await bus.close()
    assert {file.name for file in harness.path.parent.iterdir()} == {"bus.db", "bus.db.leader"}
    assert [status.spec.name for status in await (await harness.sqlite()).subscriptions()] == ["billing"]


async def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    await (await open_bus(SqliteSettings(path), holder="me")).close()
    with other_program(path) as db:
        db.pragma("user_version", VERSION + 1)
    before = path.read_bytes()
    error = await refusal(path, UsageError)
    assert f"format {VERSION + 1}" in str(error)
    assert path.read_bytes() == before


async def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with other_program(path) as db:
        db.execute("CREATE TABLE accounts (id)")
    before = path.read_bytes()
    await refusal(path, Refused)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"dear diary " * 1000)
    await refusal(path, Refused)
    assert path.read_bytes() == b"dear diary " * 1000


async def test_a_damaged_bus_is_refused_and_never_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    bus = await open_bus(SqliteSettings(path), holder="me")
    await bus.register([SubscriptionSpec("billing", SOURCE, SUBJECT)])
    leader = await Leader.take(bus)
    await leader.commit(*(event(number, padding=6000) for number in range(50)))
    await bus.close()
    whole = path.read_bytes()
    damaged = whole[:4096] + b"\xa5" * (len(whole) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(Refused, match="damaged"):
        bus = await open_bus(SqliteSettings(path), holder="me")
        try:
            await Leader.take(bus)
        finally:
            await bus.close()
    assert path.stat().st_size == len(damaged)


async def test_a_missing_folder_and_a_folder_as_file_are_usage_errors(tmp_path: Path) -> None:
    await refusal(tmp_path / "no" / "bus.db", UsageError)
    (tmp_path / "folder").mkdir()
    await refusal(tmp_path / "folder", UsageError)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that even root cannot write")
async def test_a_folder_that_cannot_be_written_is_a_usage_error() -> None:
    await refusal(Path("/proc/self/bus.db"), UsageError)


async def test_an_old_sqlite_that_corrupts_shared_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.46.1")
    with pytest.raises(Refused, match=r"3\.46\.1"):
        await open_bus(SqliteSettings(tmp_path / "bus.db"), holder="me")
