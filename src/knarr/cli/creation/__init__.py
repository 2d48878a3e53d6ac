"""From the flags of `run` and `create` to the body of the request that makes a container."""
