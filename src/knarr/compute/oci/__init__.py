"""The backend that drives another OCI runtime (runc, crun, runsc …) through its command line."""
