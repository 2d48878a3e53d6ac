"""Sandboxes, address pools, bridges, published ports and name files."""
