"""People who use the site: who they are and what they may do."""
