"""A ConfigMap as the kubelet mounts it: the files are links into `..data`, which is a link that is swapped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Mounted:
    """``path`` is where it is mounted, ``data`` what it contains.

    As `AtomicWriter` does it: k8s.io/kubernetes/pkg/volume/util/atomic_writer.go.
    """

    def __init__(self, path: Path, data: Mapping[str, str]) -> None:
        self.path = path
        self._version = 0
        path.mkdir(parents=True)
        self.swap(data)

    def swap(self, data: Mapping[str, str]) -> None:
        """Have it contain these files, from one moment to the next."""
        self._version += 1
        self.data = dict(data)
        old = (self.path / "..data").resolve() if (self.path / "..data").exists() else None
        new = self.path / f"..2026_01_01_00_00_00.{self._version}"
        new.mkdir()
        for name, text in data.items():
            (new / name).write_text(text)
        link = self.path / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.path / "..data")
        for name in data:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for file in self.path.iterdir():
            if file.name[0] != "." and file.name not in data:
                file.unlink()
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
