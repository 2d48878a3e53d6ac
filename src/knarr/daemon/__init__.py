"""knarrd: configuration, sockets, TLS, signals, start and stop."""
