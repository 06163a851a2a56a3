"""The EventBus type ``spool``: an example of a queue that is not part of kubecdc."""
