"""Refuses files on network file systems, where SQLite's locks and its shared memory do not work.

https://sqlite.org/wal.html: "All processes using a database must be on the same host computer; WAL does not work over a
network filesystem." 9p and virtiofs are allowed: they give sandboxes and guests access to disks of the same machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kubecdc.errors import UsageError

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "gpfs", "beegfs", "orangefs"}
    | {"pvfs2", "panfs", "glusterfs", "davfs", "moosefs", "juicefs", "acfs"}
)
# What comes after "fuse." in the type.
NETWORK_FUSE = frozenset(
    {"sshfs", "glusterfs", "ceph", "ceph-fuse", "s3fs", "goofys", "mount-s3", "mountpoint-s3", "gcsfuse", "blobfuse"}
    | {"blobfuse2", "rclone", "davfs", "curlftpfs", "moosefs", "mfs", "lizardfs", "saunafs", "juicefs", "seaweedfs"}
    | {"smbnetfs", "quobyte", "cvmfs2", "alluxio-fuse"}
)
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    point: str
    type: str
    source: str

    @property
    def over_network(self) -> bool:
        """Other machines may write to it too."""
        kind, _, subtype = self.type.lower().partition(".")
        return (subtype in NETWORK_FUSE) if kind in {"fuse", "fuseblk"} else kind in NETWORK


def mount_of(path: Path, mountinfo: str) -> Mount | None:
    """The mount that an absolute path is on. Of several at one mount point, the last one hides the others.

    Lines are as in proc_pid_mountinfo(5). Others are skipped.
    """
    found: Mount | None = None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(kinds) < 2:
            continue
        point = _unescaped(fields[4])
        if path.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            found = Mount(point, kinds[0], _unescaped(kinds[1]))
    return found


def require_local(path: Path) -> None:
    """Raise UsageError if the file is, or would be, on a network file system.

    Do nothing if that cannot be found out.
    """
    try:
        mountinfo = MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return
    mount = mount_of(path.resolve(), mountinfo)
    if mount and mount.over_network:
        raise UsageError(
            f"{path} is on a network file system ({mount.type}, {mount.source} on {mount.point}): "
            "SQLite's locks do not work there, the file would be damaged",
            hint="name a path on a disk of this machine in the EventBus's `sqlite.path`",
        )


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
