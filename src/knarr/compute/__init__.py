"""The host compute shim: an OCI runtime spec in, a running compute system out."""
