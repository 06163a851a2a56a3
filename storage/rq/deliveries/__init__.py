"""What the workers use."""
