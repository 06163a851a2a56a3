"""The bare loops: the same work with the usual library and nothing around it, each a process of its own.

Each prints one JSON object with what it measured, or a line for each event.
"""
