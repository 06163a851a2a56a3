"""The ``http`` trigger: one request for each event."""
