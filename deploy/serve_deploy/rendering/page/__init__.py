"""The HTML page: what it says, each figure with the value that it was rounded from."""
