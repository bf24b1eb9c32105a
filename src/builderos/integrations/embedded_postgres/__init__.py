"""The embedded PostgreSQL: the default database, so that nobody has to install one."""
