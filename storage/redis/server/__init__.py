"""The way to Redis: where the server is, connections, scripts, errors."""
