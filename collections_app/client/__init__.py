"""The client for scripts on other machines: one file that imports nothing from the site."""
