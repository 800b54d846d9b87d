"""The Overview: the team's collections at a glance, those with problems first."""
