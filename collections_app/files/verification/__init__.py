"""Verify that the files of a run are complete: a manifest with digests, and reading the files again."""
