"""How many workers a service has: decided by what waits and how fast it is worked off, done by whoever has hands."""
