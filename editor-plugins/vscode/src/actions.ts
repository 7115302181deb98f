/**
 * Explain, fix, write tests, document, refactor: the commands, which ask the server for an edit of
 * the selection or, without one, of what stands around the cursor.
 */

import * as vscode from "vscode";
import { UserError } from "./errors";
import { withProgress } from "./progress";
import { type Applied, COMMAND, type EditParams, type ExplainParams } from "./protocol";
import type { Markdown, Range } from "./protocol";
import type { Server } from "./server";

const TITLES: Record<EditParams["action"], string> = {
  fix: "fixing",
  tests: "writing tests",
  document: "documenting",
  refactor: "refactoring",
};

/** Ask for an edit of the active editor's text, and have it applied. */
export async function edit(server: Server, action: EditParams["action"]): Promise<void> {
  const editor = editable();
  const { document, selection } = editor;
  const params: EditParams = {
    action,
    uri: document.uri.toString(),
    version: document.version,
    range: asRange(selection),
  };
  if (action === "fix") params.diagnostics = diagnostics(document, selection);
  if (action === "refactor") {
    const instruction = await vscode.window.showInputBox({
      title: "ingle: Refactor",
      prompt: "What is to be changed?",
      placeHolder: "use a dataclass",
      validateInput: (text) => (text.trim() === "" ? "Say what is to be changed." : null),
    });
    if (instruction === undefined) return;
    params.instruction = instruction.trim();
    // The box may have stood there for long.
    params.version = document.version;
  }
  await runEdit(server, params);
}

/** Ask for an edit that is fully described: what a code action has as its command. */
export async function runEdit(server: Server, params: EditParams): Promise<void> {
  const { applied, message } = await withProgress(TITLES[params.action], (cancellation, progress) =>
    server.command<Applied>(COMMAND.edit, params, cancellation, progress),
  );
  if (!applied) throw new UserError(message || "the document has changed: nothing was edited");
  if (message !== "") vscode.window.setStatusBarMessage(`ingle: ${message}`, 5000);
}

/** Show a file that was written, and leave the cursor where it is. */
export async function showBeside(uri: string): Promise<void> {
  await vscode.window.showTextDocument(vscode.Uri.parse(uri), {
    viewColumn: vscode.ViewColumn.Beside,
    preserveFocus: true,
    preview: false,
  });
}

/** Explain a part of a document; without one, of the active editor's. The answer is shown. */
export async function explain(server: Server, given?: ExplainParams): Promise<void> {
  const params = given ?? asked(active());
  // It comes with `ingle/showMarkdown`, too, which is what shows it.
  await withProgress("explaining", (cancellation, progress) =>
    server.command<Markdown>(COMMAND.explain, params, cancellation, progress),
  );
}

function asked({ document, selection }: vscode.TextEditor): ExplainParams {
  return { uri: document.uri.toString(), range: asRange(selection) };
}

function active(): vscode.TextEditor {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) throw new UserError("open a file first");
  return editor;
}

function editable(): vscode.TextEditor {
  const editor = active();
  if (vscode.workspace.fs.isWritableFileSystem(editor.document.uri.scheme) === false) {
    throw new UserError("this file can't be edited");
  }
  return editor;
}

export function asRange(range: vscode.Range): Range {
  const { start, end } = range;
  return {
    start: { line: start.line, character: start.character },
    end: { line: end.line, character: end.character },
  };
}

/** The problems at a place, as LSP has them. Without any there is nothing to fix. */
function diagnostics(document: vscode.TextDocument, selection: vscode.Selection): unknown[] {
  const found = vscode.languages
    .getDiagnostics(document.uri)
    .filter(({ range }) => range.intersection(selection) !== undefined);
  if (found.length === 0) throw new UserError("no problem is reported here: nothing to fix");
  return found.map(({ range, message, severity, source }) => ({
    range: asRange(range),
    message,
    // LSP counts from 1.
    severity: severity + 1,
    ...(source === undefined ? {} : { source }),
  }));
}
