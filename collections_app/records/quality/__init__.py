"""Whether a run can be trusted: what its records look like, compared with earlier runs."""
