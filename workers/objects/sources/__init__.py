"""Sources outside the manifest: the object is read for each execution."""
