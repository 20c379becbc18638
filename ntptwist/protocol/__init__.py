"""The on-wire protocol of RFC 5905, sans-I/O."""
