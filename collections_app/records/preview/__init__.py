"""Show, search and summarize the records of a run: the first ones at once, the others from a table."""
