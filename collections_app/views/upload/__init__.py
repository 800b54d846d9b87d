"""Upload the files of a run in the browser."""
