"""The Sensor side: deliveries in, triggers out."""
