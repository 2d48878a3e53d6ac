"""`knarr doctor`: what this host can and cannot do for an engine, found out by trying, and how to mend it.

A group of checks a module. Nothing is left behind: what is tried is done in a child process with namespaces of its own.
"""
