"""The app's access to its machine: database, disk, secrets and logs."""
