"""Thin, typed bindings of Linux. One kernel object a module, no policy."""
