"""Notifications: which events are sent to which channels, and how they are sent."""
