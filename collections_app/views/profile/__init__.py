"""The profile page, with API keys."""
