"""ElasticMQ, a server with the interface of SQS."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.maven import Jars
from tests.ports import free_port

VERSION = "1.6.12"
START = 60.0  # seconds
JARS = Jars("ElasticMQ", VERSION, [f"org.elasticmq:elasticmq-server_2.13:{VERSION}"])
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
        options = ["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # it is gone before more would pay
        java = ["java", *options, f"-Dconfig.file={config}", "-cp", f"{JARS.library}/*"]
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
