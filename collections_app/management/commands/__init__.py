"""What operators and cron jobs call, one file per command."""
