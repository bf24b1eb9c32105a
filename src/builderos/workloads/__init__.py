"""What is built out of runs, commands and models: agents, and what stands beside them."""
