"""Policy: who may do what to which object, decided in one place by Cedar rules."""
