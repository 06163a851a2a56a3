"""The trigger types: a folder each, and what they have in common."""
