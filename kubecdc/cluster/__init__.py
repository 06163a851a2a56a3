"""The Kubernetes API, for both sides: connection and credentials, requests, one named object, list and watch."""
