"""Durable work beside requests: schedules, the outbox, takeover of what a dead process left. The one owner of DBOS."""
