"""Benchmarks, which you run with `make bench`."""
