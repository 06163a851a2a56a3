"""Google's emulator of Pub/Sub, where the Google Cloud SDK has it. It needs Java."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from tests.ports import free_port

ROOTS = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "/google-cloud-sdk")
JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
START = 30.0  # seconds


class Emulator:
    """A process with an address."""

    def __init__(self, jar: Path, folder: Path) -> None:
        self.address = f"127.0.0.1:{(port := free_port())}"
        command = ["java", "-jar", str(jar), "--host=127.0.0.1", f"--port={port}"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START
        while not self._answers(port):
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise AssertionError(f"the emulator does not answer: {(folder / 'log').read_text()}")
            time.sleep(0.1)

    @classmethod
    def started(cls, folder: Path) -> Self:
        """Skip the test where there is no emulator: it comes with the Google Cloud SDK only."""
        jar = found()
        if jar is None or not shutil.which("java"):
            pytest.skip("there is no Pub/Sub emulator: `gcloud components install pubsub-emulator`, and Java")
        return cls(jar, folder)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False


def found() -> Path | None:
    """The newest emulator below the root of the SDK that `gcloud` or the environment names, or a usual one."""
    roots = [Path(root) for root in ROOTS]
    if gcloud := shutil.which("gcloud"):
        roots.insert(0, Path(gcloud).resolve().parents[1])
    if named := os.environ.get("CLOUDSDK_ROOT_DIR"):
        roots.insert(0, Path(named))
    roots.append(Path.home() / "google-cloud-sdk")
    return next((jar for root in roots for jar in sorted(root.glob(JAR), reverse=True)), None)
