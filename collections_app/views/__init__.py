"""What a person sees, one file per screen."""
