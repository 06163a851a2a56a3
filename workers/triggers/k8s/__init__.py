"""The ``k8s`` trigger type: objects in the cluster."""
