"""The quality page of a run."""
