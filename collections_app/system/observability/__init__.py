"""What operators see of the running site: a line for each request, and figures for Prometheus."""
