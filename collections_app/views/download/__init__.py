"""The download page of a collection."""
