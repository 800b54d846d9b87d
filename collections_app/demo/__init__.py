"""The demo: sample teams, collections and runs."""
