"""What the watcher, the workers and the commands may expect of a bus, whatever its back end.

A file for each user: `publishing`, `checkpoints` and `leadership` for the watcher; `deliveries` and `state` for the
workers; `administration` for the commands. `bus` puts them together. `types` is what a package extends to add a type of
queue or store. `kubecdc.storage.testing` has the same rules as a test suite, which every back end runs. Times are
wall-clock seconds since the epoch, durations are `timedelta`.
"""

from kubecdc.storage.contracts.administration import (
    UNKNOWN,
    Approximate,
    DeadLetter,
    DeadLetters,
    ObjectName,
    Replay,
    Replayable,
    SubscriptionStatus,
    Unknown,
    Worker,
)
from kubecdc.storage.contracts.bus import (
    Bus,
    Capabilities,
    Queue,
)
from kubecdc.storage.contracts.checkpoints import (
    Checkpoint,
    CheckpointDelta,
    CheckpointStore,
    EntryState,
    Gap,
    Inventoried,
    Selection,
    State,
)
from kubecdc.storage.contracts.deliveries import (
    NO_FAILURES,
    Delivery,
    Failures,
    Subscription,
    SubscriptionSpec,
)
from kubecdc.storage.contracts.errors import (
    BusFull,
    ClaimLost,
    CommitMismatch,
    LeadershipLost,
    Locked,
    NoSubscription,
    StateConflict,
    Undecodable,
)
from kubecdc.storage.contracts.leadership import (
    Elector,
    LeadTimes,
    Term,
    least_term,
)
from kubecdc.storage.contracts.publishing import (
    Batch,
    PreparedBatch,
    Publication,
    Publisher,
    TransactionalPublisher,
)
from kubecdc.storage.contracts.state import (
    StateChange,
    StateEntry,
    StateStore,
)

__all__ = [
    "NO_FAILURES",
    "UNKNOWN",
    "Approximate",
    "Batch",
    "Bus",
    "BusFull",
    "Capabilities",
    "Checkpoint",
    "CheckpointDelta",
    "CheckpointStore",
    "ClaimLost",
    "CommitMismatch",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Elector",
    "EntryState",
    "Failures",
    "Gap",
    "Inventoried",
    "LeadTimes",
    "LeadershipLost",
    "Locked",
    "NoSubscription",
    "ObjectName",
    "PreparedBatch",
    "Publication",
    "Publisher",
    "Queue",
    "Replay",
    "Replayable",
    "Selection",
    "State",
    "StateChange",
    "StateConflict",
    "StateEntry",
    "StateStore",
    "Subscription",
    "SubscriptionSpec",
    "SubscriptionStatus",
    "Term",
    "TransactionalPublisher",
    "Undecodable",
    "Unknown",
    "Worker",
    "least_term",
]
