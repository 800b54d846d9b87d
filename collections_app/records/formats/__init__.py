"""Records read from and turned into file formats, one record at a time, and the names of files."""
