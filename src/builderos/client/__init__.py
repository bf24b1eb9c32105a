"""The HTTP client of commands and editors. Standard library only: it must be loaded in milliseconds."""
