"""Spawners: what creates sources and replaces them."""
