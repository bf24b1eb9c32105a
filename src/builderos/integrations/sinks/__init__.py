"""Carriers of the audit record: webhook, syslog, file."""
