"""What the functions behind the queues and the clock do: thin, over runs, reconcile and breaker."""
