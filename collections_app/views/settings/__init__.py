"""The settings of a collection."""
