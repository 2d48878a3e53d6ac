"""`python -m knarr.daemon` is knarrd."""

from knarr.daemon.main import main

main()
