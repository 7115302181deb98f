/** The menu of the status bar. */

import * as vscode from "vscode";
import { entries } from "./menuEntries";
import type { Status } from "./protocol";
import type { Server } from "./server";

export async function showMenu(server: Server, status: Status | null): Promise<void> {
  const placeHolder = status?.text ?? "ingle-lsp is not running";
  const chosen = await vscode.window.showQuickPick(entries(server.state, status), {
    title: "ingle",
    placeHolder,
  });
  if (chosen !== undefined) await vscode.commands.executeCommand(chosen.command);
}
