"""What a script calls: the only home of the wire spellings."""
