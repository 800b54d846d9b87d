"""The results storage: a folder or a bucket."""
