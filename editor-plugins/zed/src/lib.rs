//! Tells Zed how to start `ingle-lsp`, and what it is told at the start. All else is the server's.

use zed_extension_api::{self as zed, serde_json, settings::LspSettings, Command, Result};

struct Ingle;

impl zed::Extension for Ingle {
    fn new() -> Self {
        Ingle
    }

    fn language_server_command(
        &mut self,
        server: &zed::LanguageServerId,
        worktree: &zed::Worktree,
    ) -> Result<Command> {
        let binary = LspSettings::for_worktree(server.as_ref(), worktree)?.binary;
        let (path, arguments) = match binary {
            Some(binary) => (binary.path, binary.arguments.unwrap_or_default()),
            None => (None, Vec::new()),
        };
        let command = path
            .filter(|path| path.contains(['/', '\\']))
            .or_else(|| worktree.which("ingle-lsp"))
            .ok_or("ingle-lsp is not on PATH: `pip install ingle`, then `ingle editor zed`")?;
        Ok(Command {
            command,
            args: arguments,
            env: worktree.shell_env(),
        })
    }

    fn language_server_initialization_options(
        &mut self,
        server: &zed::LanguageServerId,
        worktree: &zed::Worktree,
    ) -> Result<Option<serde_json::Value>> {
        Ok(LspSettings::for_worktree(server.as_ref(), worktree)?.initialization_options)
    }
}

zed::register_extension!(Ingle);
