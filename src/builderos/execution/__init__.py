"""Where commands and models run."""
