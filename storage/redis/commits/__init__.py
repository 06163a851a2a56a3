"""What the watcher uses: commits, checkpoints, election."""
