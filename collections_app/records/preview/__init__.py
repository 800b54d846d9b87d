"""Questions about the records of a run: the first ones at once, everything else from a table made of them."""
