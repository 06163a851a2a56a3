"""What the workers use: claims, deliveries, shared state."""
