"""What a container is: its life, its state, its execs, logs and events. Knows nothing of HTTP and of system calls."""
