"""The embedded database: Django's SQLite, with a few connections for all threads of a web process."""
