"""The Sensor as a manifest, and the parameters that its triggers take from events."""
