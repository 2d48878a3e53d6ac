"""One module per command, each with a `COMMAND`; knarr.cli.table has the names of them."""
