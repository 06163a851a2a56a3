"""From a list or a watch to commits: entries, filters, batches, the checkpoint, gaps."""
