"""The console: a built single-page application, served at the addresses that no call of the API has."""
