"""Real time daemons for the functional tests: fetched, confined, started and asked."""
