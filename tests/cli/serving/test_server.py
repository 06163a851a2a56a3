"""The server behind the probes and the metrics."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest
from structlog.testing import capture_logs

from kubecdc.cli.serving.address import Address
from kubecdc.cli.serving.server import MOST, Answer, Server, serve
from kubecdc.cli.serving.tls import Certificate
from kubecdc.errors import UsageError
from tests.apiserver.certificates import Authority
from tests.cli.serving.asking import ask, serving
from tests.ports import free_port

PAGES = {"/a": lambda _: Answer.text(200, "this\n")}


def test_what_is_not_there_is_404_and_what_is_no_get_is_refused() -> None:
    with serving(PAGES) as port:
        assert ask(port, "/a?x=1") == (200, "this\n")
        assert ask(port, "/") == (404, "there is /a here\n")
        assert ask(port, "/a/")[0] == 404
        assert ask(port, "/a", method="POST")[0] == 501


@pytest.mark.parametrize("host", ["::1", ""])
def test_it_listens_by_ipv6(host: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(PAGES, host) as port:
        assert ask(port, "/a", host="::1")[0] == 200
        if not host:
            assert ask(port, "/a")[0] == 200


def test_clients_that_ask_nothing_hold_up_no_other_and_are_bounded() -> None:
    with serving(PAGES) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST - 1)]
        assert ask(port, "/a")[0] == 200
        more = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for each in more[1:]:
            each.settimeout(60)
            assert each.recv(1) == b"", "it is one too many"
        for each in (*silent, *more):
            each.close()


def test_a_server_that_nobody_asks_hardly_wakes_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a second, as `serve_forever` does by itself, was a tenth of what an idle worker used."""
    looks: SimpleQueue[float] = SimpleQueue()
    monkeypatch.setattr(Server, "serve_forever", lambda _, poll_interval=0.5: looks.put(poll_interval))
    server = Server(Address("127.0.0.1", 0), PAGES)
    server.start()
    assert looks.get() >= 60
    server.server_close()


def test_a_port_that_is_taken_is_an_error_only_if_it_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"metrics cannot be served on 127\.0\.0\.1:{port}: ") as error:
            serve("metrics", "metrics-bind-address", Address("127.0.0.1", port), PAGES)
        assert "--metrics-bind-address" in error.value.hint
        with capture_logs() as lines:
            serve("metrics", "metrics-bind-address", Address("127.0.0.1", port, optional=True), PAGES)
        assert [line["log_level"] for line in lines] == ["info"]


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.crt")


def test_a_certificate_that_is_rotated_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    Authority(tmp_path).issue("server", "kube-apiserver")
    pair = tmp_path / "server.crt", tmp_path / "server.key"
    with serving(PAGES, tls=Certificate(*pair)) as port:
        first = trusting(tmp_path)
        assert ask(port, "/a", tls=first)[0] == 200
        with pytest.raises(OSError, match=r"."):
            ask(port, "/a")  # without TLS
        kept = pair[0].read_bytes()
        pair[0].write_bytes(kept[:100])
        assert ask(port, "/a", tls=first)[0] == 200
        (tmp_path / "ca.key").unlink()
        Authority(tmp_path).issue("server", "kube-apiserver")
        assert ask(port, "/a", tls=trusting(tmp_path))[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, "/a", tls=first)


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "crt").write_text("no certificate")
    (tmp_path / "key").write_text("no key")
    with pytest.raises(UsageError, match=r"crt and .*key cannot be used: "):
        Certificate(tmp_path / "crt", tmp_path / "key")


SCRAPED = """
import os, resource, socket, sys, time
from kubecdc.cli.serving import server
from kubecdc.cli.serving.address import Address
port = int(sys.argv[1])
server.serve("metrics", "x", Address("127.0.0.1", port), {"/metrics": lambda _: server.Answer.text(200, "x")})
client = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
client.connect(("127.0.0.1", port))
client.send(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
begun = time.process_time()
time.sleep(1)
print(time.process_time() - begun)
for fd in held:
    os.close(fd)
client.settimeout(10)
print(client.recv(15))
"""


def test_a_scrape_without_a_descriptor_takes_no_core_and_is_answered_later() -> None:
    command = [sys.executable, "-c", SCRAPED, str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    *_, seconds, answer = done.stdout.splitlines()
    assert float(seconds) < 0.3
    assert answer == "b'HTTP/1.0 200 OK'"
