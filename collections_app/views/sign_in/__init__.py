"""Signing in, and passwords."""
