"""Who is woken: by messages of queues, by the clock, and by operators."""
