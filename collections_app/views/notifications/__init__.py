"""The pages of channels, rules and notifications."""
