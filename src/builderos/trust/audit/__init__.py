"""Search, export and verify the record of acts."""
