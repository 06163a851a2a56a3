"""What the watcher uses: commits."""
