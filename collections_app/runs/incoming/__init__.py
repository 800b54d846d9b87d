"""Result files that a user imports as a run."""
