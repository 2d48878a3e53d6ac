"""Where results go: into the image store, to a registry, or to the client as files."""
