"""Which proxy is used for which server. Go's golang.org/x/net/http/httpproxy gives the same answers."""

from __future__ import annotations

import pytest
from yarl import URL

from kubecdc.cluster.proxy import bypassed, choose, masked
from kubecdc.errors import UsageError

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("server", "no_proxy", "direct"),
    [
        # addresses
        ("https://10.0.0.1:6443", "10.0.0.1", True),
        ("https://10.0.0.1:6443", "10.0.0.10", False),
        ("https://10.0.0.1:6443", " 10.0.0.2 , 10.0.0.1 ", True),
        ("https://10.0.0.1:6443", "10.0.0.1 10.0.0.2", False),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[fd00::1]:6443", "fd00:0:0::1", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "[fd00::1]:443", False),
        ("https://[::ffff:10.0.0.1]:6443", "10.0.0.1", True),
        # CIDRs
        ("https://10.0.0.1:6443", "10.0.0.0/8", True),
        ("https://10.0.0.1:6443", "10.99.0.0/8", True),
        ("https://10.0.0.1:6443", "192.168.0.0/16,172.16.0.0/12", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "10.0.0.0/8", False),
        ("https://api.example.com:6443", "10.0.0.0/8", False),
        ("https://10.0.0.1:6443", "10.0.0.0/99", False),
        # names and their suffixes
        ("https://api.example.com:6443", "api.example.com", True),
        ("https://api.example.com:6443", "example.com", True),
        ("https://api.example.com:6443", ".example.com", True),
        ("https://api.example.com:6443", "*.example.com", True),
        ("https://example.com:6443", "example.com", True),
        ("https://example.com:6443", ".example.com", False),
        ("https://example.com:6443", "*.example.com", False),
        ("https://api.notexample.com", "example.com", False),
        ("https://kubernetes.default.svc", ".svc", True),
        ("https://kubernetes.default.svc.cluster.local", ".svc", False),
        ("https://API.Example.COM", "api.example.com", True),
        ("https://api.example.com", "API.EXAMPLE.COM", True),
        ("https://b\u00fccher.example", "b\u00fccher.example", True),
        ("https://b\u00fccher.example", "xn--bcher-kva.example", True),
        ("https://10.0.0.1", "0.0.1", False),
        # ports
        ("https://10.0.0.1:6443", "10.0.0.1:6443", True),
        ("https://10.0.0.1:6443", "10.0.0.1:443", False),
        ("https://api.example.com", "example.com:443", True),
        ("https://api.example.com", ".example.com:6443", False),
        ("http://api.example.com", "example.com:80", True),
        # everything, and nothing
        ("https://api.example.com", "*", True),
        ("https://10.0.0.1", "a.example,*", True),
        ("https://api.example.com", "*example.com", False),
        ("https://api.example.com", "", False),
        ("https://api.example.com", ",, ,", False),
        ("https://api.example.com", ":443", False),
        # this machine, always
        ("https://localhost:6443", "", True),
        ("https://127.0.0.1:6443", "", True),
        ("https://127.9.9.9:6443", "", True),
        ("https://[::1]:6443", "", True),
        ("https://localhost.example.com", "", False),
    ],
)
def test_who_is_reached_without_the_proxy_of_the_environment(server: str, no_proxy: str, direct: bool) -> None:
    assert bypassed(URL(server), no_proxy) is direct


SERVER = URL("https://api.example.com:6443")


@pytest.mark.parametrize(
    ("environment", "server", "proxy"),
    [
        ({}, SERVER, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, SERVER, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128"}, SERVER, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"}, SERVER, "http://upper:1"),
        ({"HTTPS_PROXY": "", "https_proxy": "http://lower:1"}, SERVER, "http://lower:1"),
        ({"HTTPS_PROXY": "proxy:3128"}, SERVER, "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy"}, SERVER, "http://proxy"),
        ({"HTTPS_PROXY": "socks5://proxy"}, SERVER, "socks5://proxy:1080"),
        ({"HTTPS_PROXY": "socks5h://proxy:9"}, SERVER, "socks5h://proxy:9"),
        ({"HTTP_PROXY": "http://proxy:3128"}, SERVER, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, URL("http://api.example.com"), "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, URL("http://api.example.com"), "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128", "all_proxy": "http://proxy:3128"}, SERVER, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}, SERVER, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "example.com"}, SERVER, None),
        ({"HTTPS_PROXY": "proxy", "NO_PROXY": "other", "no_proxy": "example.com"}, SERVER, "http://proxy"),
    ],
)
def test_the_proxy_of_the_environment(
    environment: dict[str, str], server: URL, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chosen = choose(server, "")
    assert (chosen and str(chosen)) == proxy


def test_the_proxy_of_the_kubeconfig_counts_before_the_environment_and_for_every_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://other:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    for server in (SERVER, URL("https://127.0.0.1:6443")):
        assert str(choose(server, "http://proxy:3128")) == "http://proxy:3128"


@pytest.mark.parametrize(
    "text",
    [
        "ftp://alice:s3cret@proxy:3128",
        "socks4://alice:s3cret@proxy:3128",
        "alice:s3cret@proxy:3128",
        "http://alice:s3/cret@proxy:3128",
        "http://alice:s3cret@proxy:99999",
        "http://alice:s3cret@",
        "//alice:s3cret@proxy",
    ],
)
def test_what_is_no_proxy_is_refused_by_name_without_its_password(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the kubeconfig's proxy-url") as refused:
        choose(SERVER, text)
    assert refused.value.hint.startswith("begin it with http://, https://, socks5:// or socks5h://")
    assert "cret" not in f"{refused.value} {refused.value.hint}"
    if "://" in text:
        monkeypatch.setenv("https_proxy", text)
        with pytest.raises(UsageError, match=r"^https_proxy") as refused:
            choose(SERVER, "")
        assert "cret" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize("account", ["alice:s%C3%A9cret", f"alice:{'s' * 256}"])
def test_an_account_that_no_proxy_can_be_told_is_refused(account: str) -> None:
    with pytest.raises(UsageError, match=r"proxy-url 'http://[*]+@proxy': its user and password must be"):
        choose(SERVER, f"http://{account}@proxy")


def test_no_text_shows_the_user_and_password_of_a_proxy() -> None:
    chosen = choose(SERVER, "http://alice:p%40ss@proxy:3128")
    assert chosen
    assert str(chosen) == "http://***@proxy:3128"
    assert (chosen.url.user, chosen.url.password) == ("alice", "p@ss")
    assert masked("http://a:b@h/x, socks5://c@d:1, not a@b") == "http://***@h/x, socks5://***@d:1, not a@b"
