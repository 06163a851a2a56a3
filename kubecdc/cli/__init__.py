"""The command line: commands, manifests as files, and the composition of the three sides."""
