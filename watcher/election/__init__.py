"""Which process leads: the holder of a Lease."""
