# Beside the language's own server; `try`, because without kakoune-lsp there is no such option.
hook -group ingle global BufSetOption filetype=(?:c|cpp|go|java|javascript|lua|python|ruby|rust|sh|typescript) %{
    try %{
        set-option -add buffer lsp_servers %{
            [ingle-lsp]
            command = "ingle-lsp"
            root_globs = [".git", ".hg"]
            settings_section = "ingle"
            [ingle-lsp.settings.ingle]
            startDaemon = true
        }
    }
}
