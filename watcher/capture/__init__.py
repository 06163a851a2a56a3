"""From a list or watch to commits: entries, filters, the checkpoint, gaps."""
