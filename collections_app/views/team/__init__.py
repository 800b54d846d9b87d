"""The pages of a team: its members and its accounts."""
