"""How a change of manifests is noticed: a ConfigMap is swapped by a link, files are written and renamed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kubecdc.cli.reload.looks import Looks, can_be_read_again, look
from tests.harness.mounted import Mounted


class Looking:
    """Looks at a folder, and counts how often."""

    def __init__(self, folder: Path) -> None:
        self._paths = [str(folder)]
        self._count = 0
        self._looks = Looks(self._look, look(self._paths), period=0.001)

    def _look(self) -> bytes:
        self._count += 1
        return look(self._paths)

    async def notices(self) -> bool:
        """Whether something is noticed in a few looks."""
        news, most = asyncio.create_task(self._looks.news()), self._count + 10
        while not news.done() and self._count < most:  # noqa: ASYNC110 - who looks is a thread
            await asyncio.sleep(0.001)
        return news.done() or not news.cancel()


async def test_a_config_map_is_swapped_by_a_link_and_noticed_once(tmp_path: Path) -> None:
    mounted = Mounted(tmp_path / "manifests", {"a.yaml": "a: 1", "b.yaml": "b: 1"})
    looks = Looking(mounted.path)
    assert not await looks.notices()
    mounted.swap({"a.yaml": "a: 1", "b.yaml": "b: 1"})  # the kubelet has synced, and nothing is different
    assert not await looks.notices()
    mounted.swap({"a.yaml": "a: 2", "b.yaml": "b: 1"})
    assert await looks.notices() and not await looks.notices()
    mounted.swap({"a.yaml": "a: 2", "c.yaml": "b: 1"})
    assert await looks.notices() and not await looks.notices()


async def test_writes_renames_and_files_that_come_and_go_are_noticed(tmp_path: Path) -> None:
    folder, file = tmp_path / "manifests", tmp_path / "manifests" / "a.yaml"
    folder.mkdir()
    file.write_text("a: 1")
    looks = Looking(folder)
    stamp = file.stat().st_mtime_ns
    file.write_text("a: 2")
    os.utime(file, ns=(stamp, stamp))  # as long, and as old
    assert await looks.notices()
    (tmp_path / "new").write_text("a: 3")
    (tmp_path / "new").rename(file)
    assert await looks.notices()
    file.rename(folder / "b.yaml")
    assert await looks.notices()
    (folder / "b.yaml").unlink()
    assert await looks.notices()
    folder.rmdir()
    assert await looks.notices() and not await looks.notices()


async def test_a_whole_folder_is_swapped_by_a_link_as_git_sync_does(tmp_path: Path) -> None:
    for revision in ("a", "b"):
        (tmp_path / revision).mkdir()
        (tmp_path / revision / "a.yaml").write_text(f"{revision}: 1")
    (tmp_path / "current").symlink_to("a")
    looks = Looking(tmp_path / "current")
    (tmp_path / "next").symlink_to("b")
    (tmp_path / "next").rename(tmp_path / "current")
    assert await looks.notices() and not await looks.notices()


async def test_what_is_still_being_written_does_not_count(tmp_path: Path) -> None:
    """One look finds each half, two find the whole."""
    found = iter([b"0", b"half", b"more", b"0", b"most", b"all", b"all", b"all"])
    looks = Looks(lambda: next(found), b"0", period=0.001)
    assert await looks.news() is False
    assert list(found) == [b"all"]


async def test_what_was_changed_while_it_was_read_is_noticed_when_it_stays(tmp_path: Path) -> None:
    found = iter([b"1", b"1", b"2", b"1", b"1", b"1"])
    looks = Looks(lambda: next(found), b"0", period=0.001)
    await looks.news()
    assert not await looks.same()
    await looks.news()
    assert await looks.same()


async def test_who_asks_is_not_kept_waiting_and_gets_what_is_there(tmp_path: Path) -> None:
    paths = [str(tmp_path)]
    looks = Looks(lambda: look(paths), look(paths), period=None)
    (tmp_path / "a.yaml").write_text("a: 1")
    news = asyncio.create_task(looks.news())
    await asyncio.sleep(0.01)
    assert not news.done()
    looks.ask()
    async with asyncio.timeout(60):
        assert await news


@pytest.mark.parametrize("name", ["-", "pipe", "nothing"])
def test_what_is_read_only_once_is_not_read_again(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    assert not can_be_read_again(name if name == "-" else str(tmp_path / name))
    assert can_be_read_again(str(tmp_path)) and can_be_read_again(str(tmp_path / "file"))
