"""Where work begins: at messages of queues, at the clock, and at operators."""
