"""The list of collections."""
