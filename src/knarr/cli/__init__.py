"""The knarr program. Speaks HTTP through knarr.client and knows nothing of the engine's insides."""
