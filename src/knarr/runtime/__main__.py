"""knarr-runtime the long way: makes what contrib's script lacks, or does without it."""

from knarr.runtime.sealing import main

main()
