"""The page on which users see their name and their API keys."""
