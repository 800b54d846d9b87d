"""The records in a run's files: their formats, their preview, and their exports."""
