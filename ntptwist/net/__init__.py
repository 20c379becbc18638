"""Where Twisted meets the kernel."""
