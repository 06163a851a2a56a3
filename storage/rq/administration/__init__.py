"""What operators and the leader use."""
