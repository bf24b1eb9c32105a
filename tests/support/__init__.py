"""What several tests need: one database server for the whole run, a fresh database per test, other users."""
