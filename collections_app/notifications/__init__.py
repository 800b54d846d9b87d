"""Notifications: which events are sent to which channels."""
