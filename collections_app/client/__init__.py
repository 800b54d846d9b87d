"""What a script has on its own machine: one file that knows nothing of the site around it."""
