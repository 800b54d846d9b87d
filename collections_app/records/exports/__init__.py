"""Exports: all records of a run as one file in any format, built once and stored within limits."""
