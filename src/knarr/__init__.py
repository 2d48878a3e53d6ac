"""knarr, a container engine that is a Python package."""

__version__ = "0.1.0"
