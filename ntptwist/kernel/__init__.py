"""System calls, without Twisted."""
