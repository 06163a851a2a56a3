"""What the watcher, the workers and the commands may expect of a bus, whatever the back end.

A file for each user: `publishing`, `checkpoints` and `leadership` for the watcher; `deliveries` and `state` for the
workers; `administration` for the commands; `bus` has all of it; `types` is what a package provides to add a type of
queue or store. `kubecdc.storage.testing` is the same as a test suite; every back end runs it. Times are wall-clock
seconds since the epoch, durations are `timedelta`.
"""

from kubecdc.storage.contracts.administration import (
    DeadLetter,
    DeadLetters,
    ObjectName,
    Replay,
    Replayable,
    SubscriptionStatus,
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
    Gap,
    Inventoried,
    Selection,
    State,
)
from kubecdc.storage.contracts.deliveries import (
    Delivery,
    Subscription,
    SubscriptionSpec,
)
from kubecdc.storage.contracts.errors import (
    BusFull,
    ClaimLost,
    CommitMismatch,
    LeadershipLost,
    NoSubscription,
    StateConflict,
    Undecodable,
)
from kubecdc.storage.contracts.leadership import (
    Elector,
    LeadTimes,
    Term,
)
from kubecdc.storage.contracts.publishing import (
    Batch,
    Publisher,
    TransactionalPublisher,
)
from kubecdc.storage.contracts.state import (
    StateChange,
    StateEntry,
    StateStore,
)

__all__ = [
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
    "Gap",
    "Inventoried",
    "LeadTimes",
    "LeadershipLost",
    "NoSubscription",
    "ObjectName",
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
    "Worker",
]
