"""Layers to root filesystems: the drivers, and layer archives applied and made."""
