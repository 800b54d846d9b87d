"""Django's SQLite backend, with a few connections that all threads of a web process share."""
