"""Read-only views of the daemon."""
