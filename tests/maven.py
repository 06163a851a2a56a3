"""Servers for the tests that are jars from Maven Central. Their files stay in ``build/<name>/<version>``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

DOWNLOAD = 300.0  # seconds
BUILD = Path(__file__).parents[1] / "build"


@dataclass(frozen=True)
class Jars:
    """The jars of a server, with all that they need. ``dependencies`` are ``group:artifact:version``."""

    name: str
    version: str
    dependencies: Sequence[str]

    @property
    def library(self) -> Path:
        """The folder with the jars."""
        return BUILD / self.name.lower() / self.version

    def require(self) -> None:
        """Skip the test where the server cannot run, even where CI is set."""
        if reason := self.missing():
            pytest.skip(reason)

    def missing(self) -> str:
        """Why the server cannot run here, or "". It needs Java, and Maven for the first time."""
        if not shutil.which("java"):
            return f"there is no Java to run {self.name}: `apt-get install default-jre-headless maven`"
        if self.library.is_dir():
            return ""
        if not shutil.which("mvn"):
            return f"there is no Maven to download {self.name}: `apt-get install maven`"
        self.library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.library.parent) as folder:
            pom, jars = Path(folder) / "pom.xml", Path(folder) / "jars"
            pom.write_text(self._pom())
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
            command = ["mvn", "-q", "-B", "-f", str(pom), *goal]
            done = subprocess.run(command, capture_output=True, timeout=DOWNLOAD, check=False)
            if done.returncode:
                return f"{self.name} cannot be downloaded: {done.stdout.decode()[-300:]}"
            try:
                jars.rename(self.library)  # at once: another process of the tests may do the same
            except OSError:
                assert self.library.is_dir()
        return ""

    def _pom(self) -> str:
        parts = [
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
            "</dependency>"
            for group, artifact, version in (dependency.split(":") for dependency in self.dependencies)
        ]
        return (
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            f"<groupId>tests</groupId><artifactId>{self.name.lower()}</artifactId><version>1</version>"
            f"<packaging>pom</packaging><dependencies>{''.join(parts)}</dependencies></project>\n"
        )
