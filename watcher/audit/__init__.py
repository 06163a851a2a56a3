"""The proof that nothing was lost: the inventory compared with the cluster."""
