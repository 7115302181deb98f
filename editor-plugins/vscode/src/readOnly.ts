/**
 * Whether a file may be edited. No part of VS Code's API says whether a document is read-only, so
 * this looks at what makes it so: its file system, the settings, the file's mode. An editor that
 * was made read-only for a session is not known here; there the keys refuse.
 */

import { access, constants } from "node:fs/promises";
import * as vscode from "vscode";

type Globs = Record<string, boolean>;

export async function isReadOnly(uri: vscode.Uri): Promise<boolean> {
  if (vscode.workspace.fs.isWritableFileSystem(uri.scheme) === false) return true;
  const document = vscode.workspace.textDocuments.find(
    (each) => each.uri.toString() === uri.toString(),
  );
  if (document === undefined || uri.scheme !== "file") return false;
  const files = vscode.workspace.getConfiguration("files", uri);
  const isSaid = (name: string) => matches(document, files.get<Globs>(name, {}));
  if (isSaid("readonlyInclude") && !isSaid("readonlyExclude")) return true;
  return files.get<boolean>("readonlyFromPermissions", false) && !(await isWritable(uri.fsPath));
}

function matches(document: vscode.TextDocument, globs: Globs): boolean {
  const folder = vscode.workspace.getWorkspaceFolder(document.uri);
  return Object.entries(globs).some(([glob, isOn]) => {
    if (!isOn) return false;
    const patterns = folder ? [glob, new vscode.RelativePattern(folder, glob)] : [glob];
    return patterns.some((pattern) => vscode.languages.match({ pattern }, document) > 0);
  });
}

async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
