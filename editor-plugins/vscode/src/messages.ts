/** How the user is told things: one short message each, with what can be done as buttons. */

import * as vscode from "vscode";
import { userMessage } from "./errors";
import { own } from "./settings";
import type { Messages } from "./server";

/** LSP's message types. */
const ERROR = 1;
const WARNING = 2;
const INFO = 3;

const START = "Start Daemon";
const HEALTH = "Check Health";
const LOG = "Show Log";

export class UserMessages implements Messages {
  constructor(private readonly log: vscode.LogOutputChannel) {}

  unavailable(message: string): void {
    void offer(vscode.window.showWarningMessage(`ingle: ${message}`, HEALTH, LOG));
  }

  outdated(message: string): void {
    void offer(vscode.window.showWarningMessage(`ingle: ${message}`, HEALTH));
  }

  said({ type, message }: { type: number; message: string }): void {
    // The server says our hint when the daemon is down, and only then.
    const buttons = message.includes(this.startHint()) ? [START] : [];
    if (type === ERROR) void offer(vscode.window.showErrorMessage(message, ...buttons));
    else if (type === WARNING) void offer(vscode.window.showWarningMessage(message, ...buttons));
    else if (type === INFO) void offer(vscode.window.showInformationMessage(message, ...buttons));
    else this.log.info(message);
  }

  failed(error: unknown): void {
    const message = userMessage(error);
    if (message === null) return;
    this.log.error(error instanceof Error ? error : String(error));
    const buttons = message.includes(this.startHint()) ? [START] : [];
    void offer(vscode.window.showWarningMessage(`ingle: ${message}`, ...buttons));
  }

  startHint(): string {
    const key = process.platform === "darwin" ? "Ctrl+Alt+I S" : "Alt+I S";
    return own<boolean>("defaultKeys", true)
      ? `“ingle: Start Daemon” (${key})`
      : "“ingle: Start Daemon”";
  }
}

const COMMANDS = new Map([
  [START, "ingle.startDaemon"],
  [HEALTH, "ingle.checkHealth"],
  [LOG, "ingle.showLog"],
]);

async function offer(shown: Thenable<string | undefined>): Promise<void> {
  const command = COMMANDS.get((await shown) ?? "");
  if (command !== undefined) await vscode.commands.executeCommand(command);
}
