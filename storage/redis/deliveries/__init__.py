"""What the workers use: partitions, lanes, deliveries, shared state."""
