"""Reads manifests from files, and validates them."""
