"""From a Dockerfile to an image: what each instruction does to files and configuration, and the cache of results.

The language is in `dockerfile`; what a step runs in comes from the engine, through `interface`.
"""
