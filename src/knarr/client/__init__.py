"""The typed client of the Engine API. Knows nothing of the packages below it."""
