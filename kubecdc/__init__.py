"""kubecdc: change data capture for Kubernetes."""

__version__ = "0.1.0"
