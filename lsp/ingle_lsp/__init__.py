"""The language server: completions from the ingle daemon for any editor that speaks LSP."""
