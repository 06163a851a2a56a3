"""Access to Redis: finding the server, connections, scripts, error mapping."""
