"""The page of the changes between two runs, and their summary in lists."""
