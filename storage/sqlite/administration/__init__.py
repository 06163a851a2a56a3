"""What operators use, and what keeps the file tidy: subscriptions, dead letters, replays, retention."""
