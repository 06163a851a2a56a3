"""Bytes that nobody should send, put where they hurt."""
