"""MultiCartAPI's API: the lists of runs that it sends, and the files."""
