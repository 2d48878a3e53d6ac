"""Caches outside of the engine: results of steps with their layers, in registries and in directories of clients."""
