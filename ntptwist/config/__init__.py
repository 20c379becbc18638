"""From a TOML file to frozen values."""
