"""What the watcher uses: commits, checkpoints, the lead."""
