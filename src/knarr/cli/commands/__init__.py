"""One module per command, each with a `COMMAND`; knarr.cli.main has the table of them."""
