"""The file: connections, the threads that own them, the schema."""
