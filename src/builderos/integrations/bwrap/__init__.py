"""Commands on this machine: in bubblewrap where the kernel lends namespaces, under Landlock where it does not."""
