from __future__ import annotations

import pytest

from kubecdc.errors import UsageError
from kubecdc.storage.redis.settings import RedisSettings
from kubecdc.storage.redis_server.settings import Access
from kubecdc.storage.redis_server.url import Address, BadUrl, RedisUrl, parse

A = Address("a", 6379)

READ = [
    ("redis://a", RedisUrl("server", (A,))),
    ("redis://localhost:6379/0", RedisUrl("server", (Address("localhost", 6379),))),
    ("redis:///3", RedisUrl("server", (Address("localhost", 6379),), db=3)),
    ("redis://a?db=3", RedisUrl("server", (A,), db=3)),
    ("redis://[::1]:7000/0", RedisUrl("server", (Address("::1", 7000),))),
    ("redis://u:p%40%2F@a", RedisUrl("server", (A,), username="u", password="p@/")),
    ("redis://:p@a", RedisUrl("server", (A,), password="p")),
    ("unix:///run/r.sock", RedisUrl("socket", path="/run/r.sock")),
    ("unix://u@/r.sock?db=2&password=p", RedisUrl("socket", path="/r.sock", db=2, username="u", password="p")),
    ("rediss://a", RedisUrl("server", (A,), tls={})),
    (
        "rediss://a/1?ssl_ca_certs=/ca.crt&ssl_check_hostname=no&ssl_cert_reqs=none&ssl_min_version=TLSv1.3",
        RedisUrl(
            "server",
            (A,),
            db=1,
            tls={
                "ssl_ca_certs": "/ca.crt",
                "ssl_check_hostname": False,
                "ssl_cert_reqs": "none",
                "ssl_min_version": 772,
            },
        ),
    ),
    (
        "redis+sentinel://u:p@a:26379,b/main",
        RedisUrl(
            "sentinel", (Address("a", 26379), Address("b", 26379)), primary="main", username="u", password="p"
        ),
    ),
    (
        "rediss+sentinel://a/main/2?sentinel_username=s&sentinel_password=t",
        RedisUrl(
            "sentinel",
            (Address("a", 26379),),
            primary="main",
            db=2,
            tls={},
            sentinel_username="s",
            sentinel_password="t",
        ),
    ),
    ("redis+cluster://a,b:7000", RedisUrl("cluster", (A, Address("b", 7000)))),
    ("rediss+cluster://:p@a/0", RedisUrl("cluster", (A,), tls={}, password="p")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "url"), READ)
def test_a_url_says_where_the_bus_is(text: str, url: RedisUrl) -> None:
    assert parse(text) == url


REFUSED = [
    ("", "is not the URL of a Redis", "redis://localhost"),
    ("a:6379", "is not the URL of a Redis", "redis://localhost"),
    ("http://a", "is not the URL of a Redis", "redis+cluster://"),
    ("redis://", "is not the URL of a Redis", "redis://localhost"),
    ("redis://[::1", "has a host that cannot be read", "redis://localhost"),
    ("redis://a:port", "has a port or host that cannot be read", "redis://localhost"),
    ("redis://a,b", "names several hosts", "redis+sentinel://"),
    ("redis://a/main", "has a database that is not a number", "redis://localhost"),
    ("redis://u:ge/heim@a", "cannot be read", "%2F"),
    ("redis://u:ge#heim@a", "cannot be read", "%23"),
    ("redis://u:ge?heim@a", "cannot be read", "%3F"),
    ("redis://a?retry_on_timeout=true", "has an option that a bus does not support", "ssl_ca_certs"),
    ("redis://a?ssl_ca_certs=/ca.crt", "has the option ssl_ca_certs, but does not ask for TLS", "rediss"),
    ("rediss://a?ssl_check_hostname=maybe", "neither true nor false", "true or false"),
    ("rediss://a?ssl_cert_reqs=some", "ssl_cert_reqs that is not known", "required"),
    ("rediss://a?ssl_min_version=3", "ssl_min_version that is not known", "TLSv1.2"),
    ("redis://a?sentinel_username=s", "names no Sentinels", "redis+sentinel://"),
    ("redis+sentinel://a:26379", "name the primary", "redis+sentinel://host:26379"),
    ("redis+sentinel://a,/main", "has no host", "redis+sentinel://host:26379"),
    ("redis+cluster://a/1", "names a database", "redis+cluster://host"),
    ("redis+cluster:///0", "has no host", "redis+cluster://host"),
    ("unix://run/r.sock", "has a host, or a path that does not begin", "unix:///run"),
    ("unix:///", "has no path of a socket", "unix:///run"),
]


@pytest.mark.parametrize(("text", "message", "hint"), REFUSED)
def test_a_url_that_cannot_be_used_is_refused_with_the_fix(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadUrl, match=message) as refused:
        parse(text)
    assert hint in refused.value.hint
    assert "heim" not in str(refused.value) + refused.value.hint


def test_a_bad_url_in_the_settings_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="the URL of the bus names several hosts"):
        RedisSettings("redis://a,b").place  # noqa: B018


PLACES = [
    ("redis://u:geheim@a/2", "redis://a:6379/2"),
    ("unix://u:geheim@/r.sock?db=1", "unix:///r.sock?db=1"),
    ("unix:///r.sock?password=geheim", "unix:///r.sock"),
    ("rediss://a?ssl_password=geheim", "rediss://a:6379/0"),
    ("redis+sentinel://u:geheim@a,[::1]:7/main?sentinel_password=geheim", "redis+sentinel://a:26379,[::1]:7/main/0"),
    ("rediss+cluster://u:geheim@a,b", "rediss+cluster://a:6379,b:6379"),
]


@pytest.mark.parametrize(("text", "place"), PLACES)
def test_the_place_of_a_bus_has_no_secret(text: str, place: str) -> None:
    settings = RedisSettings(text)
    assert settings.place == place
    assert "geheim" not in repr(settings.server) or "ssl_password" in text


def test_what_is_said_beside_the_url_goes_before_it() -> None:
    settings = RedisSettings("rediss://a?ssl_ca_certs=/a&ssl_certfile=/b", access=Access(tls={"ssl_ca_certs": "/c"}))
    assert settings.server.tls == {"ssl_ca_certs": "/c", "ssl_certfile": "/b"}
    assert RedisSettings("redis://a", access=Access(tls={"ssl_ca_certs": "/c"})).server.tls is None
