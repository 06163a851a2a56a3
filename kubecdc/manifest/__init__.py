"""What the manifests of all three kinds share: base models, field types, units, mounted Secrets."""
