"""The list of collections, and the pages that change a collection."""
