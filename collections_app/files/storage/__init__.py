"""The results storage, a folder or a bucket, and a cache on this machine."""
