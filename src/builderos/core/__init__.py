"""Words that every room shares and that know no room: ids, time, problems, the unit of work, operations, settings."""
