"""What changed between the runs of a collection."""
