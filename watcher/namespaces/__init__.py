"""Where an entry is watched: in all namespaces, in those it names, or in those a selector finds."""
