"""The EventSource: which changes of which resources become events. Argo Events' `resource`, extended."""

from kubecdc.watcher.manifest.entry import Entry, Filter
from kubecdc.watcher.manifest.event_source import Entries, EventSource, EventSourceSpec, entries_of, entry_of
from kubecdc.watcher.manifest.projection import Projection
from kubecdc.watcher.manifest.selectors import FieldSelector, LabelSelector, NamespaceExpression, NamespaceSelector

__all__ = [
    "Entries",
    "Entry",
    "EventSource",
    "EventSourceSpec",
    "FieldSelector",
    "Filter",
    "LabelSelector",
    "NamespaceExpression",
    "NamespaceSelector",
    "Projection",
    "entries_of",
    "entry_of",
]
