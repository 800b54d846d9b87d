"""What happens: who did it, and how it is recorded."""
