"""The EventBus: contracts, back ends, and what the watcher and the workers share."""
