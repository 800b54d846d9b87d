"""The download page of a collection, and what can be downloaded there."""
