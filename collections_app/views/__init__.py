"""The views for people: one folder per area, one module per screen."""
