"""Programs in manifests, in jq and Lua. They run in a process of their own, which can be ended at any time."""
