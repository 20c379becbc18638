"""What an operator asks of a running daemon, and the socket on which it is asked."""
