"""The ``log`` trigger: one line for each event."""
