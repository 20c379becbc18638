"""Network Time Security (RFC 8915), bytes in and events out."""
