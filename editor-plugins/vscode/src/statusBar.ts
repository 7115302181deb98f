/** The item in the status bar, and the context keys that follow the daemon's state. */

import * as vscode from "vscode";
import type { Status } from "./protocol";
import type { Server } from "./server";
import { statusLine } from "./statusLine";

export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private readonly subscriptions: vscode.Disposable;
  private newest: Status | null = null;

  constructor(private readonly server: Server) {
    this.item = vscode.window.createStatusBarItem(
      "ingle.status",
      vscode.StatusBarAlignment.Right,
      100,
    );
    this.item.name = "ingle";
    this.item.command = "ingle.menu";
    this.subscriptions = vscode.Disposable.from(
      this.item,
      server.onDidChangeState((state) => {
        if (state !== "running") this.newest = null;
        this.show();
      }),
      server.onDidChangeStatus((status) => {
        this.newest = status;
        this.show();
      }),
    );
    this.show();
    this.item.show();
  }

  /** The newest status; null while there is none. */
  get status(): Status | null {
    return this.newest;
  }

  dispose(): void {
    this.subscriptions.dispose();
  }

  private show(): void {
    const { text, tooltip, severity } = statusLine(this.server.state, this.newest);
    this.item.text = text;
    this.item.tooltip = tooltip;
    this.item.accessibilityInformation = { label: tooltip, role: "button" };
    this.item.backgroundColor =
      severity === "none"
        ? undefined
        : new vscode.ThemeColor(`statusBarItem.${severity}Background`);
    const state = this.newest?.state;
    setContext("ingle.suggesting", this.newest?.enabled ?? true);
    setContext("ingle.ready", state === "ready" || state === "busy");
  }
}

function setContext(key: string, value: boolean): void {
  void vscode.commands.executeCommand("setContext", key, value);
}
