"""What queues have in common that keep their events in a broker, such as SQS and Pub/Sub."""
