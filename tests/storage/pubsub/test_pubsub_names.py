"""The names of subscriptions, their labels and filters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.pubsub.names import Names, filter_of, labels_of, spec_of
from kubecdc.storage.testing.actors import SOURCE, SUBJECT
from tests.storage.pubsub.conftest import PROJECT
from tests.storage.pubsub.fake import filters

SPEC = SubscriptionSpec("mail/send", SOURCE, SUBJECT)

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300)


@given(text, text, text)
def test_a_spec_is_read_back_from_labels_and_its_id_is_one_that_pubsub_takes(
    name: str, source: str, subject: str
) -> None:
    spec, names = SubscriptionSpec(name, source, subject), Names(PROJECT, "t" * 100)
    labels = labels_of(spec)
    assert spec_of(labels) == spec
    assert len(labels) <= 64
    assert all(len(value) <= 63 and (value.islower() or value.isdigit()) for value in labels.values())
    path = names.path(spec, 12)
    id_ = path.rpartition("/")[2]
    assert len(id_) <= 255
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_.~+%") for letter in id_)
    found = names.parse(path)
    assert found is not None
    assert (found.name, found.serial) == (names.in_id(name), 12)
    assert len(filter_of(path, spec).encode()) <= 256


def test_ids_of_other_buses_and_other_people_are_left_alone() -> None:
    names = Names(PROJECT, "kubecdc")
    ours = names.path(SPEC, 1)
    assert ours.endswith(".1")
    assert names.parse(ours) is not None
    for other in ("kubecdc-dead", "kubecdc", "kubecdc.x", "kubecdc.a.b.c", "another.mail.0123.1"):
        assert names.parse(f"projects/{PROJECT}/subscriptions/{other}") is None
    assert spec_of({"team": "a"}) is None
    assert spec_of({"kubecdc": "1", "kubecdc-name-0": "1"}) is None, "not Base32"


def test_a_filter_lets_in_an_entry_and_what_is_for_the_subscription_alone() -> None:
    path = Names(PROJECT, "kubecdc").path(SPEC, 1)
    lets_in = filters.parsed(filter_of(path, SPEC))
    entry = filter_of(path, SPEC).split('"')[1]
    target = filter_of(path, SPEC).split('"')[3]
    assert lets_in({"entry": entry})
    assert not lets_in({"entry": "another"})
    assert not lets_in({"entry": entry, "for": "another"})
    assert lets_in({"entry": "another", "for": target})
