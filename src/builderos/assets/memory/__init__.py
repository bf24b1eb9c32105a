"""What is known of the files of a project: searched, kept, checked."""
