"""The number of rows in a list."""

# Runs or collections on a page, and the number that "Load more" adds. The API's default limit is part of its
# contract, so it's separate.
PAGE_SIZE = 50
