"""Images: references, the content store, archives, and the host image. Knows nothing of containers."""
