"""Administration and retention: subscriptions, dead letters, replays."""
