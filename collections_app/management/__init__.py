"""The management commands and the background worker."""
