"""Checkpoints in a ConfigMap, for a bus that cannot hold its own, in a cluster without other storage."""
