"""Products: their history, search, movers and watchlists."""
