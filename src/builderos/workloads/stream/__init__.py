"""What happens, as one caller may see it: all topics in one reply that can be resumed."""
