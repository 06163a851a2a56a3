"""The ``argoWorkflow`` trigger type: submits workflows of Argo Workflows, and acts on those that exist."""
