"""The app's connections to its machine: database, disk, secrets and logs."""
