"""What operators see: a log line for each request, and metrics for Prometheus."""
