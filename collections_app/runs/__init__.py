"""Writing a run's files: names, pages, archive, ready. The only writer."""
