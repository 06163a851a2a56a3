"""Manifests as files: read, validated, cross-checked."""
