/** Slow requests, shown as a notification with a cancel button. */

import * as vscode from "vscode";

/** Run something slow; `run` is told of the user's wish to end it, and can say how far it is. */
export async function withProgress<R>(
  title: string,
  run: (cancellation: vscode.CancellationToken, progress: (message: string) => void) => Promise<R>,
): Promise<R> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `ingle: ${title}`, cancellable: true },
    (progress, cancellation) =>
      run(cancellation, (message) => {
        progress.report({ message });
      }),
  );
}
