"""Serving time."""
