"""What a run's files are: their names, storage, delivery, bundles and verification."""
