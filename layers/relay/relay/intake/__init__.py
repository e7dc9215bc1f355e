"""The webhook endpoint: from a request of API Gateway to the Changes queue and an answer."""
