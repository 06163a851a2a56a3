"""What a long-running process does on its buses, and how it follows the manifests when these change."""
