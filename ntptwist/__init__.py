"""
An NTP daemon on Twisted.

Packages are the stages a datagram passes through; ``docs/design.rst`` shows the house.
"""

__version__ = "0.1.0.dev0"
