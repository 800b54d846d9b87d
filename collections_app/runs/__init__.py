"""Write, copy, move, repair and delete runs and their files. No other package does."""
