/**
 * A panel beside the editor that shows Markdown: explanations and the health report.
 *
 * Not the editor's own preview: that one loads pictures from anywhere, and what a model writes may
 * name an address with a piece of the user's text in it.
 */

import * as vscode from "vscode";
import type { Markdown } from "./protocol";
import { page, webviewOptions } from "./webviewHtml";

export class DocumentPanel implements vscode.Disposable {
  private panel: vscode.WebviewPanel | null = null;
  private shown: Markdown | null = null;

  constructor(private readonly extensionUri: vscode.Uri) {}

  /** Show a text; the one before is replaced. The cursor stays where it is. */
  show(shown: Markdown): void {
    this.shown = shown;
    this.panel ??= this.create();
    this.panel.title = shown.title;
    this.panel.reveal(undefined, true);
    this.send();
  }

  dispose(): void {
    this.panel?.dispose();
  }

  private create(): vscode.WebviewPanel {
    const panel = vscode.window.createWebviewPanel(
      "ingle.document",
      "ingle",
      { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true },
      webviewOptions(this.extensionUri),
    );
    panel.webview.onDidReceiveMessage((message: { type: "ready" | "copy"; text?: string }) => {
      if (message.type === "ready") this.send();
      else void vscode.env.clipboard.writeText(message.text ?? "");
    });
    panel.onDidDispose(() => {
      this.panel = null;
    });
    panel.webview.html = page(panel.webview, this.extensionUri, "document");
    return panel;
  }

  private send(): void {
    if (this.shown !== null) void this.panel?.webview.postMessage(this.shown);
  }
}
