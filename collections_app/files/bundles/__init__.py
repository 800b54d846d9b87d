"""Several files as one download, which is joined from stored files while it is read."""
