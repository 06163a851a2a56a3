"""The ``function`` trigger: a call of a Python function for each event."""
