"""Sources: what measures."""
