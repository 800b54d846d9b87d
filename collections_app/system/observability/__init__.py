"""Monitoring for operators: a log line for each request, and metrics for Prometheus."""
