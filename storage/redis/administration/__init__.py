"""What operators use, and what keeps Redis tidy: subscriptions, dead letters, replays, retention."""
