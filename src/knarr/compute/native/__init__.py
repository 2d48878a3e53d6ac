"""The native backend: zygote, shim per container, and the stage between clone3 and execve."""
