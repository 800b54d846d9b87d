"""The app: collections, their runs, and the files of each run."""
