"""What each process reports to the bus, and what `kubecdc status` makes of it."""
