"""One metadata for all rooms' tables, all in schema `ops`. The migrations are the truth; a test compares the two."""

import sqlalchemy as sa

metadata = sa.MetaData(schema="ops")
