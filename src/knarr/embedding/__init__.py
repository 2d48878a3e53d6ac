"""knarr in a program: a private engine for the length of a block, and containers as objects. See docs/embedding.md."""
