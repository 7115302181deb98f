"""How editors are set up: what is written into their files, and where. `ingle editor` runs it."""
