"""The specification. The cast is in conftest.py."""
