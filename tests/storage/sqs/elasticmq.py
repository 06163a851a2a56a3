"""ElasticMQ, a server with the interface of SQS, from Maven Central. Its files stay in ``build/elasticmq``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.ports import free_port

VERSION = "1.6.12"
START = 60.0  # seconds
DOWNLOAD = 300.0
LIBRARY = Path(__file__).parents[3] / "build" / "elasticmq" / VERSION
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>elasticmq</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.elasticmq</groupId><artifactId>elasticmq-server_2.13</artifactId>
<version>{VERSION}</version></dependency></dependencies></project>
"""
CONFIG = """include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
queues {{}}
"""


class ElasticMq:
    """A server with its queues in memory. It can be stopped for a while, and killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it. Returns once it answers."""
        config = self.folder / "elasticmq.conf"
        config.write_text(CONFIG.format(port=self.port))
        java = ["java", "-Xmx192m", "-XX:+UseSerialGC", f"-Dconfig.file={config}", "-cp", f"{LIBRARY}/*"]
        with (self.folder / "elasticmq.log").open("wb") as log:
            self._process = subprocess.Popen([*java, "org.elasticmq.server.Main"], stdout=log, stderr=log)
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self.answers():
                return
            time.sleep(0.05)
        raise AssertionError(f"ElasticMQ does not answer: {(self.folder / 'elasticmq.log').read_text()[-2000:]}")

    def answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/health", timeout=1):
                return True
        except HTTPError as e:
            e.close()
            return True
        except (URLError, OSError):
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def require() -> None:
    """Skip the test where there is no ElasticMQ, even where CI is set."""
    if reason := missing():
        pytest.skip(reason)


def missing() -> str:
    """Why ElasticMQ cannot run here, or "". It needs Java, and Maven for the first time."""
    if not shutil.which("java"):
        return "there is no Java to run ElasticMQ: `apt-get install default-jre-headless maven`"
    if LIBRARY.is_dir():
        return ""
    if not shutil.which("mvn"):
        return "there is no Maven to download ElasticMQ: `apt-get install maven`"
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LIBRARY.parent) as folder:
        pom, jars = Path(folder) / "pom.xml", Path(folder) / "jars"
        pom.write_text(POM)
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        done = subprocess.run(["mvn", "-q", "-B", "-f", pom, *goal], capture_output=True, timeout=DOWNLOAD, check=False)
        if done.returncode:
            return f"ElasticMQ cannot be downloaded: {done.stdout.decode()[-300:]}"
        try:
            jars.rename(LIBRARY)  # at once: another process of the tests may do the same
        except OSError:
            assert LIBRARY.is_dir()
    return ""
