"""Helpers for the tests: real programs, example data and readers of pages."""
