"""What manifests of all three kinds have in common: base models, field types, units, mounted Secrets."""
