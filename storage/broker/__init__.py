"""What queues that keep their events in a broker, such as SQS and Pub/Sub, have in common."""
