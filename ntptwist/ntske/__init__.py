"""NTS key establishment over TLS: the shell around ``nts.exchange``."""
