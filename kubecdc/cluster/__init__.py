"""The Kubernetes API, for all of kubecdc: connection and credentials, requests, one named object, list and watch."""
