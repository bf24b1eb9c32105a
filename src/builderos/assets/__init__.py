"""What people and agents build: repositories, sandboxes, files, tasks, memory."""
