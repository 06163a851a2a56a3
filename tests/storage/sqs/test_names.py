"""Names, tags and groups stay within what SQS allows."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqs import names
from kubecdc.storage.sqs.settings import SqsSettings

TEXT = st.text(max_size=600)
PREFIXES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
TAG = re.compile(r"[\w\s.:/=+@-]{0,256}", re.ASCII)


@given(bus=TEXT, subscription=TEXT, prefix=PREFIXES, fifo=st.booleans())
def test_a_name_is_one_that_sqs_allows(bus: str, subscription: str, prefix: str, fifo: bool) -> None:
    name = names.queue_name(SqsSettings(bus=bus, prefix=prefix, fifo=fifo), subscription)
    for text in (name, names.dead_name(name)):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,75}\.fifo" if fifo else r"[A-Za-z0-9_-]{1,80}", text)
    assert names.is_dead(names.dead_name(name))
    assert not names.is_dead(name)
    assert name.startswith(names.prefix(SqsSettings(bus=bus, prefix=prefix, fifo=fifo)))


def test_a_name_tells_what_it_is_for() -> None:
    name = names.queue_name(SqsSettings(), "notify/tell")
    assert re.fullmatch(r"kubecdc-default-notify-tell-[0-9a-f]{12}\.fifo", name)
    assert names.dead_name(name) == name.removesuffix(".fifo") + "-dlq.fifo"


def test_different_subscriptions_and_buses_have_different_names() -> None:
    settings = SqsSettings()
    alike = [names.queue_name(settings, name) for name in ("a/b", "a-b", "a/b/", "a" * 200, "a" * 201)]
    buses = [names.queue_name(replace(settings, bus=bus), "a") for bus in ("a.b", "a-b", "b" * 60, "b" * 61)]
    assert len({*alike, *buses}) == len(alike) + len(buses)


@given(bus=TEXT, spec=st.builds(SubscriptionSpec, name=TEXT, source=TEXT, subject=TEXT), time=st.floats(0, 4e9))
def test_tags_say_the_same_again(bus: str, spec: SubscriptionSpec, time: float) -> None:
    tags = names.tags(bus, spec, {names.REGISTERED: time})
    assert all(TAG.fullmatch(value) and len(key) <= 128 for key, value in tags.items())
    assert names.tag(tags, names.BUS) == bus
    assert names.tagged_spec(tags) == spec
    found = names.tagged_time(tags, names.REGISTERED)
    assert found is not None
    assert abs(found - time) <= 0.001
    assert names.tagged_time(tags, names.CHANGED) is None


def test_a_shorter_text_replaces_a_longer_one() -> None:
    long = names.tags("bus", SubscriptionSpec("n", "s" * 700, "x"), {})
    short = names.tags("bus", SubscriptionSpec("n", "s" * 256, "x"), {})
    assert names.tagged_spec({**long, **short}).source == "s" * 256


@given(st.text())
def test_a_group_is_one_that_sqs_allows(partitionkey: str) -> None:
    group = names.group(partitionkey)
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", group)
    assert group == names.group(partitionkey)


def test_a_group_is_the_partitionkey_if_it_can_be() -> None:
    key = "workflows.argoproj.io/default/a"
    assert names.group(key) == key
    assert len({names.group("a" * 128), names.group("a" * 129), names.group("a" * 130)}) == 3
