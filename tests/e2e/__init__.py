"""Whole runs: real processes, a real socket, and a ledger of what became of each change."""
