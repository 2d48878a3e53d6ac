"""The language of Dockerfiles: from text to typed instructions in stages. Nothing here runs anything."""
