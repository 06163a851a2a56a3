"""What trigger types that work on Kubernetes objects have in common."""
