"""The EventSource side: list and watch a Kubernetes resource, commit each change to the bus."""
