/** The button in Source Control: a message for what is about to be committed. */

import * as vscode from "vscode";
import { UserError } from "./errors";
import { withProgress } from "./progress";
import { COMMAND } from "./protocol";
import type { Server } from "./server";

/** What is needed of the API of VS Code's own git extension, version 1. */
interface Repository {
  readonly rootUri: vscode.Uri;
  readonly inputBox: { value: string };
}

interface Git {
  getAPI(version: 1): { readonly repositories: readonly Repository[] };
}

/** `source` is the provider whose button was pressed; a command of the palette has none. */
export async function writeCommitMessage(
  server: Server,
  source?: vscode.SourceControl,
): Promise<void> {
  const repository = await chosenRepository(source?.rootUri);
  const before = repository.inputBox.value;
  const { message } = await withProgress("writing a commit message", (cancellation, progress) =>
    server.command<{ message: string }>(
      COMMAND.commitMessage,
      { uri: repository.rootUri.toString() },
      cancellation,
      progress,
    ),
  );
  const written = repository.inputBox.value;
  if (written.trim() !== "" && written !== message) {
    const replace = "Replace";
    const chosen = await vscode.window.showInformationMessage(
      written === before
        ? "ingle: there is a commit message already."
        : "ingle: you wrote a commit message meanwhile.",
      { detail: message, modal: true },
      replace,
    );
    if (chosen !== replace) return;
  }
  repository.inputBox.value = message;
}

async function chosenRepository(root: vscode.Uri | undefined): Promise<Repository> {
  const git = vscode.extensions.getExtension<Git>("vscode.git");
  if (git === undefined) throw new UserError("the editor's git extension is switched off");
  const { repositories } = (await git.activate()).getAPI(1);
  const [only, ...more] = repositories;
  if (only === undefined) throw new UserError("no git repository is open");
  const same = repositories.find(({ rootUri }) => rootUri.toString() === root?.toString());
  if (same !== undefined || more.length === 0) return same ?? only;
  const items = repositories.map((repository) => ({
    label: vscode.workspace.asRelativePath(repository.rootUri),
    repository,
  }));
  const chosen = await vscode.window.showQuickPick(items, { title: "ingle: Write Commit Message" });
  if (chosen === undefined) throw new vscode.CancellationError();
  return chosen.repository;
}
