"""What starts and stops replicas: orders to a foreign launcher, and a wrapper that only says what it would do."""
