"""knarr-runtime: our runtime as a command with runc's command line, for engines other than ours."""
