"""Who may do what, who said yes, and the record that proves it."""
