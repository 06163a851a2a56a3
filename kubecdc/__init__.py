"""kubecdc: change data capture for Kubernetes. The command line, and the composition of the three sides."""

__version__ = "0.1.0"
