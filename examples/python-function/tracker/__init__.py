"""Keeps what has become of each Workflow in a database."""
