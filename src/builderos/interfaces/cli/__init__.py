"""The command line: a client of the HTTP contract that holds no rule of its own."""
