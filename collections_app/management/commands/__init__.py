"""Commands for operators and cron jobs, one file per command."""
