"""What a person sees, one file per screen. "Page" always means a result page."""
