"""What a tuning found: the document, its table, charts and page, and the winner written into the repository."""
