"""Several files as one: ZIPs that are put together while they are read, from what is stored already."""
