"""Where triggers may connect to: the rules, and the http trigger that keeps them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from kubecdc.cluster.keys import Keys
from kubecdc.workers.addresses import EVERYWHERE, Addresses, AddressRefused
from kubecdc.workers.outcome import Failure, Outcome, Retry, Success
from kubecdc.workers.route import build
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.http.message import BadUrl
from kubecdc.workers.triggers.kafka.manifest import SchemaRegistry
from kubecdc.workers.triggers.kafka.registry import Registry
from kubecdc.workers.triggers.kafka.undone import Undone
from tests.workers.kafka.registries import small_registry
from tests.workers.peer import saying, serving
from tests.workers.support import event, http_trigger, route, sensor

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    ("allow", "deny", "host", "address", "why"),
    [
        ("", "", "x", METADATA, ""),
        ("", "169.254.0.0/16", "x", METADATA, f"x ({METADATA}) is refused by --deny-addresses 169.254.0.0/16"),
        ("", "169.254.0.0/16", "x", "10.0.0.1", ""),
        ("", METADATA, METADATA, METADATA, f"{METADATA} is refused by --deny-addresses {METADATA}/32"),
        ("", METADATA, "x", f"::ffff:{METADATA}", "refused"),
        ("", METADATA, "x", "64:ff9b::a9fe:a9fe", "refused"),
        ("", METADATA, "x", "2002:a9fe:a9fe::1", "refused"),
        ("", "127.0.0.0/8", "x", "0.0.0.0", "refused"),
        ("", "127.0.0.0/8", "x", "::", "refused"),
        ("", "fe80::/10", "x", "fe80::1%eth0", "refused"),
        ("10.0.0.0/8", "", "x", "10.1.2.3", ""),
        ("10.0.0.0/8", "", "x", "::ffff:10.1.2.3", ""),
        ("10.0.0.0/8", "", "x", "11.1.2.3", "x (11.1.2.3) is not among --allow-addresses"),
        ("10.0.0.0/8,fd00::/8", "", "x", "fd00::1", ""),
        ("10.0.0.0/8", "10.9.0.0/16", "x", "10.9.0.1", "refused"),
        ("receiver.example", "", "Receiver.Example.", "10.0.0.1", ""),
        ("receiver.example", "", "other.example", "10.0.0.1", "is not among"),
        ("*.example.com", "", "a.b.example.com", "10.0.0.1", ""),
        ("*.example.com", "", "example.com", "10.0.0.1", "is not among"),
        ("*.example.com", "", "evilexample.com", "10.0.0.1", "is not among"),
        ("receiver.example", "127.0.0.0/8", "receiver.example", "127.0.0.1", "refused"),
        ("", METADATA, "x", "nonsense", "no address that a rule can judge"),
    ],
)
def test_the_rules(allow: str, deny: str, host: str, address: str, why: str) -> None:
    rules = Addresses.parse([allow] if allow else [], [deny] if deny else [])
    found = rules.refusal(host, address)
    assert (why in found) if why else not found


@pytest.mark.parametrize(
    ("allow", "deny", "why"),
    [
        (["10.0.0.1/8"], [], "10.0.0.1/8 has host bits set: write 10.0.0.0/8"),
        (["not a:name"], [], "'a:name' is neither a network nor the name of a host"),
        (["10.0.0.0/33"], [], "'10.0.0.0/33' is neither a network nor the name of a host"),
        ([], ["metadata.internal"], "'metadata.internal' is not a network: a name cannot be denied"),
        ([" , "], [], "one of them is empty"),
    ],
)
def test_a_rule_that_is_none_is_refused(allow: list[str], deny: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Addresses.parse(allow, deny)


async def send(rules: Addresses, url: str, own: str = "") -> Outcome:
    """Make a request; ``own`` is the address in the manifest, if an event has chosen another one."""
    manifest = sensor(http_trigger(own or url)).spec.triggers[0]
    made = build(manifest, Context("s", 1, addresses=rules))
    try:
        return await made.execute(route(made, http_trigger(url)).request(event()))
    finally:
        await made.close()


DENIED = Addresses.parse([], ["127.0.0.0/8,::1"])


async def test_nothing_is_sent_to_an_address_that_is_denied() -> None:
    async with serving(saying(200)) as peer:
        outcome = await send(DENIED, peer.url)
        named = await send(DENIED, peer.url.replace("127.0.0.1", "localhost"))
        assert await send(EVERYWHERE, peer.url) == Success()
        assert await send(Addresses.parse(["127.0.0.1"], []), peer.url) == Success()
    why = "127.0.0.1 is refused by --deny-addresses 127.0.0.0/8; correct the address, or the rule if 127.0.0.1 is meant"
    assert outcome == Retry(f"POST {peer.url}: {why} to be reached", ours=True), "it is kept until that is corrected"
    assert isinstance(named, Retry)
    assert "refused by --deny-addresses" in named.reason
    assert len(peer.received) == 2


async def test_an_event_that_chooses_such_an_address_is_a_dead_letter() -> None:
    async with serving(saying(200)) as peer:
        outcome = await send(DENIED, peer.url, own="http://receiver.example/")
        assert isinstance(outcome, Failure)
        assert "127.0.0.1 is refused by --deny-addresses 127.0.0.0/8" in outcome.reason
        path = await send(DENIED, f"{peer.url}/chosen", own=f"{peer.url}/own")
        assert isinstance(path, Retry), "it is the manifest's host that is refused"
    assert not peer.received


async def test_a_name_that_leads_elsewhere_the_next_time_is_judged_by_where_it_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: what is judged is what is connected to."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host: str, port: Any, *args: Any, **given: Any) -> Any:
        asked.append(host)
        return real("127.0.0.2" if len(asked) == 1 else "127.0.0.1", port, *args, **given)

    async with serving(saying(200)) as peer:
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        url = peer.url.replace("127.0.0.1", "moves.example")
        rules = Addresses.parse(["127.0.0.2/32"], [])
        first, second = await send(rules, url), await send(rules, url)
    assert isinstance(first, Retry)
    assert not first.ours, "it was tried, and nobody listens there"
    assert isinstance(second, Retry)
    assert "moves.example (127.0.0.1) is not among --allow-addresses" in second.reason
    assert (peer.received, asked) == ([], ["moves.example"] * 2)


async def test_of_several_addresses_those_that_are_permitted_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def two(host: str, port: Any, *args: Any, **given: Any) -> Any:
        return [*real("127.0.0.2", port, *args, **given), *real("127.0.0.1", port, *args, **given)]

    async with serving(saying(200)) as peer:
        monkeypatch.setattr(socket, "getaddrinfo", two)
        url = peer.url.replace("127.0.0.1", "several.example")
        assert await send(Addresses.parse([], ["127.0.0.2"]), url) == Success()


async def test_the_preview_says_what_is_known_without_a_look_up() -> None:
    made = build(sensor(http_trigger("http://127.0.0.1/")).spec.triggers[0], Context("s", 1, addresses=DENIED))
    with pytest.raises(BadUrl, match=r"POST http://127.0.0.1/: 127.0.0.1 is refused by --deny-addresses"):
        made.preview(route(made, http_trigger("http://127.0.0.1/")).request(event()))
    assert made.preview(route(made, http_trigger("http://localhost/")).request(event()))["url"] == "http://localhost/"


async def test_a_schema_registry_is_reached_only_where_that_is_permitted() -> None:
    async with small_registry() as registry:
        config = SchemaRegistry.model_validate({"url": registry.url, "schemaId": 1})
        with pytest.raises(Undone) as e:
            await Registry(config, Keys(), DENIED).schema(5)
    assert e.value.outcome.reason.startswith(f"the schema registry {registry.url}: 127.0.0.1 is refused")
    assert registry.asked == []


def test_a_host_that_another_library_connects_to_is_looked_up_and_judged() -> None:
    with pytest.raises(AddressRefused, match="localhost"):
        DENIED.look_up("localhost")
    EVERYWHERE.look_up("does-not-exist.invalid")
