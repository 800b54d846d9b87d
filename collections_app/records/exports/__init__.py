"""A run's records as one file in any format: asked for, made once, kept within bounds."""
