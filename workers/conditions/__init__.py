"""Conditions: which dependencies of a Sensor have to be met before a trigger fires, and what is half met."""
