/**
 * Ghost text, between the editor and the language client's own feature: what has been suggested is
 * typed through without asking again, and an answer that comes too late is dropped.
 */

import * as vscode from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { type Change, TypedThrough } from "./typedThrough";

export class GhostText implements vscode.Disposable {
  private readonly suggestions = new TypedThrough();
  private readonly subscriptions: vscode.Disposable;

  constructor() {
    this.subscriptions = vscode.Disposable.from(
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        this.suggestions.changed(document.uri.toString(), contentChanges.map(change));
      }),
      vscode.workspace.onDidCloseTextDocument((document) => {
        this.suggestions.forget(document.uri.toString());
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        // Ghost text may be off now, or off for this language.
        if (event.affectsConfiguration("ingle")) this.suggestions.forget();
      }),
    );
  }

  readonly middleware: Pick<Middleware, "provideInlineCompletionItems"> = {
    provideInlineCompletionItems: async (document, position, context, cancellation, next) => {
      const uri = document.uri.toString();
      // With the menu of completions open, what is suggested must go on from its entry.
      const isFree = context.selectedCompletionInfo === undefined;
      if (isFree && context.triggerKind === vscode.InlineCompletionTriggerKind.Automatic) {
        const rest = this.suggestions.rest(uri, position);
        if (rest.length > 0) return rest.map((text) => item(text, position));
      }
      const version = document.version;
      const answer = await next(document, position, context, cancellation);
      if (cancellation.isCancellationRequested || document.isClosed) return null;
      if (document.version !== version) return null;
      const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
      this.suggestions.suggested(uri, position, items.flatMap(insertedAt(position)));
      return items;
    },
  };

  /** Suggestions were paused: nothing that is known may be shown. */
  forget(): void {
    this.suggestions.forget();
  }

  dispose(): void {
    this.subscriptions.dispose();
  }
}

function change(event: vscode.TextDocumentContentChangeEvent): Change {
  return { start: event.range.start, end: event.range.end, text: event.text };
}

function item(text: string, position: vscode.Position): vscode.InlineCompletionItem {
  return new vscode.InlineCompletionItem(text, new vscode.Range(position, position));
}

/** The text of a suggestion that only inserts at the cursor; others can't be typed through. */
function insertedAt(position: vscode.Position) {
  return ({ insertText, range }: vscode.InlineCompletionItem): string[] =>
    typeof insertText === "string" &&
    (range === undefined || (range.isEmpty && range.start.isEqual(position)))
      ? [insertText.replaceAll("\r\n", "\n")]
      : [];
}
