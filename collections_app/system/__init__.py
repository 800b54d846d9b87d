"""What the app needs from its machine: database, disk, secrets, logs."""
