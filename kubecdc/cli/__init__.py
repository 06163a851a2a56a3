"""The command line: the commands, the loading of manifests, and the composition of watcher, workers and storage."""
