"""The pages for signing in and for passwords."""
