/** What VS Code gives a webview's page. */
declare function acquireVsCodeApi(): { postMessage(message: unknown): void };
