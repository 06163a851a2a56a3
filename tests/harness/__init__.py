"""What the end-to-end tests, the chaos run and the demo share: processes, a receiver, a load, and the ledger."""
