"""The audit: compares the inventory with the cluster, to prove that nothing was lost."""
