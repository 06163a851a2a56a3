"""The ``kafka`` trigger: a message on a topic for each event."""
