"""The demo: made-up teams, collections and runs that are worth looking at."""
