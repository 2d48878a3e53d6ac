"""The Engine API over HTTP: one module per resource, errors to status codes."""
