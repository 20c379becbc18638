"""The same daemon in a virtual world."""
