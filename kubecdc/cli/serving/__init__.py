"""What a long-running process serves over HTTP, in threads: its health and its metrics, though its event loop hangs."""
