"""What shows that a run's files are whole: their list with sizes and digests, and reading them again."""
