"""A bus is refused on a network file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.errors import UsageError
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.file import network_mounts

LOCAL = """\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw
not a line - at all
"""


def over(point: str, kind: str, source: str = "server:/export") -> str:
    return f"{LOCAL}40 27 0:44 / {point} rw,relatime shared:7 master:2 - {kind} {source} rw,vers=4.2\n"


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "afs", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph-fuse"],
)
def test_a_file_below_a_network_mount_is_on_it(kind: str) -> None:
    mount = network_mounts.mount_of(Path("/data/kubecdc/bus.db"), over("/data", kind))
    assert mount == network_mounts.Mount("/data", kind, "server:/export")
    assert mount.over_network


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk.ntfs", "fuse.lxcfs", "9p"]
)
def test_disks_of_this_machine_are_let_through(kind: str) -> None:
    mount = network_mounts.mount_of(Path("/data/bus.db"), over("/data", kind))
    assert mount is not None
    assert not mount.over_network


def test_the_nearest_mount_counts_and_names_are_whole() -> None:
    text = over("/data", "nfs") + "41 40 8:1 / /data/disk rw - xfs /dev/sdb1 rw\n"
    for path, kind in (("/data/bus.db", "nfs"), ("/data/disk/bus.db", "xfs"), ("/database/bus.db", "ext4")):
        mount = network_mounts.mount_of(Path(path), text)
        assert mount is not None
        assert mount.type == kind, path


def test_a_mount_on_a_mount_hides_it() -> None:
    mount = network_mounts.mount_of(
        Path("/data/bus.db"), over("/data", "nfs") + "41 40 8:1 / /data rw - xfs /dev/sdb1 rw\n"
    )
    assert mount is not None
    assert mount.type == "xfs"


def test_names_with_spaces_are_read() -> None:
    mount = network_mounts.mount_of(Path("/my data/bus.db"), over(r"/my\040data", "cifs", r"//nas/my\040share"))
    assert mount == network_mounts.Mount("/my data", "cifs", "//nas/my share")


def test_without_any_line_there_is_no_telling() -> None:
    assert network_mounts.mount_of(Path("/data/bus.db"), "") is None


async def test_a_bus_on_nfs_is_a_usage_error_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(folder / "bus.db")
    table = tmp_path / "mountinfo"
    table.write_text(over(str(folder.resolve()), "nfs4"))
    monkeypatch.setattr(network_mounts, "MOUNTS", table)
    for path in (folder / "bus.db", link):
        with pytest.raises(UsageError, match="nfs4") as caught:
            await open_bus(SqliteSettings(path), holder="me")
        for fact in (str(path), str(folder.resolve()), "server:/export"):
            assert fact in str(caught.value)
        assert "sqlite.path" in caught.value.hint
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(network_mounts, "MOUNTS", tmp_path / "no such file")
    await (await open_bus(SqliteSettings(folder / "bus.db"), holder="me")).close()
