/** The HTML of our webviews: a skeleton under a policy that forbids everything from outside. */

import { randomBytes } from "node:crypto";
import * as vscode from "vscode";

/** Only the extension's own files, and of scripts only the one with this page's number. */
export function webviewOptions(extensionUri: vscode.Uri): vscode.WebviewOptions {
  return { enableScripts: true, localResourceRoots: ["dist", "media"].map(within(extensionUri)) };
}

/** A page that runs `dist/webview/NAME.js`. Its title is for screen readers. */
export function page(
  webview: vscode.Webview,
  extensionUri: vscode.Uri,
  name: "chat" | "document",
): string {
  const nonce = randomBytes(24).toString("base64url");
  const script = webview.asWebviewUri(vscode.Uri.joinPath(extensionUri, `dist/webview/${name}.js`));
  const style = webview.asWebviewUri(vscode.Uri.joinPath(extensionUri, "media/webview.css"));
  const policy = [
    "default-src 'none'",
    `style-src ${webview.cspSource}`,
    `script-src 'nonce-${nonce}'`,
    // Text becomes elements one by one; nothing may be parsed as HTML, not even by mistake.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
  return `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="${policy}">
    <link rel="stylesheet" href="${style.toString()}">
    <title>ingle</title>
  </head>
  <body class="${name}">
    <script nonce="${nonce}" src="${script.toString()}"></script>
  </body>
</html>`;
}

function within(extensionUri: vscode.Uri) {
  return (folder: string): vscode.Uri => vscode.Uri.joinPath(extensionUri, folder);
}
