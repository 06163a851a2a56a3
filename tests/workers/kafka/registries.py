"""Schema registries: Apicurio, and a small one for what Apicurio cannot be made to do."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from aiohttp import web

from tests.maven import BUILD, DOWNLOAD
from tests.ports import free_port
from tests.served import served

VERSION = "2.6.13.Final"  # later ones need Java 21
START = 120.0  # seconds


@dataclass
class SmallRegistry:
    """Answers by path. ``login`` is the user and password that it asks for."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)  # of the next answers, before it works again
    login: str = ""
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), text="not now")
        if self.login:
            given, wanted = request.headers.get("Authorization", ""), base64.b64encode(self.login.encode()).decode()
            if given != f"Basic {wanted}":
                return web.json_response({"error_code": 40101, "message": f"no: {given}"}, status=401)
        found = self.answers.get(request.path)
        if found is None:
            return web.json_response({"error_code": 40403, "message": "Schema 9 not found"}, status=404)
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

    def put(self, number: int, schema: Any, **more: Any) -> None:
        self.answers[f"/schemas/ids/{number}"] = {"schema": json.dumps(schema), **more}


@asynccontextmanager
async def small_registry(tls: ssl.SSLContext | None = None) -> AsyncIterator[SmallRegistry]:
    made = SmallRegistry()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    async with served(app, tls) as made.url:
        yield made


class Apicurio:
    """A registry that keeps schemas in memory. It has the API of Confluent's at its ``url``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def require() -> Path:
        """The folder with the jars, downloaded the first time. Skips the test where that cannot be."""
        library = BUILD / "apicurio" / VERSION
        if not shutil.which("java"):
            pytest.skip("there is no Java to run Apicurio: `apt-get install default-jre-headless maven`")
        if library.is_dir():
            return library
        if not shutil.which("mvn"):
            pytest.skip("there is no Maven to download Apicurio: `apt-get install maven`")
        to = BUILD / "apicurio" / f"{VERSION}.download"
        artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={to}"]
        done = subprocess.run(command, capture_output=True, timeout=DOWNLOAD, check=False)
        if done.returncode:
            pytest.skip(f"Apicurio cannot be downloaded: {done.stdout.decode()[-300:]}")
        archive = to / f"apicurio-registry-app-{VERSION}-all.tar.gz"
        with tarfile.open(archive) as packed:
            packed.extractall(to, filter="data")
        archive.unlink()
        to.rename(library)
        return library

    def start(self) -> None:
        """Start it. Returns once it answers."""
        jar = next(self.require().glob("*-runner.jar"))
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"]
        with (self.folder / "apicurio.log").open("ab") as log:
            command = ["java", *options, f"-Dquarkus.http.port={self._port}", "-jar", str(jar)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._call("subjects")
            except OSError:
                time.sleep(0.1)
                continue
            return
        raise AssertionError(f"Apicurio does not answer: {(self.folder / 'apicurio.log').read_text()[-2000:]}")

    def register(self, subject: str, schema: Any, **more: Any) -> int:
        """The id of a schema."""
        return int(self._call(f"subjects/{subject}/versions", {"schema": json.dumps(schema), **more})["id"])

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _call(self, path: str, document: Any = None) -> Any:
        data = None if document is None else json.dumps(document).encode()
        request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)
