"""The files of runs: their names, storage, delivery, bundles and verification."""
