/**
 * Ghost text, between the editor and the language client's own feature: what has been suggested is
 * typed through without asking again, and an answer that comes too late is dropped.
 */

import * as vscode from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { type Change, TypedThrough } from "./typedThrough";

/** Whether there are candidates that the editor has not got yet; a key for the next is ours then. */
const MORE = "ingle.moreCandidates";

type Items = vscode.InlineCompletionItem[];

/** What was asked for by a key, and answered with the first candidate alone. */
interface First {
  document: vscode.TextDocument;
  version: number;
  position: vscode.Position;
  ask(cancellation: vscode.CancellationToken): Promise<Items>;
  /** All of them, once somebody wanted the next. */
  all: Items | null;
}

export class GhostText implements vscode.Disposable {
  private readonly suggestions = new TypedThrough();
  private readonly subscriptions: vscode.Disposable;
  private first: First | null = null;

  constructor() {
    this.subscriptions = vscode.Disposable.from(
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        this.suggestions.changed(document.uri.toString(), contentChanges.map(change));
        if (document === this.first?.document && contentChanges.length > 0) this.remember(null);
      }),
      vscode.workspace.onDidCloseTextDocument((document) => {
        this.suggestions.forget(document.uri.toString());
        if (document === this.first?.document) this.remember(null);
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        // Ghost text may be off now, or off for this language.
        if (event.affectsConfiguration("ingle")) this.suggestions.forget();
      }),
    );
  }

  readonly middleware: Pick<Middleware, "provideInlineCompletionItems"> = {
    provideInlineCompletionItems: async (document, position, context, cancellation, next) => {
      // The editor may ask a moment later than it meant to.
      if (!isCursor(document, position)) return null;
      const uri = document.uri.toString();
      // With the menu of completions open, what is suggested must go on from its entry.
      const isFree = context.selectedCompletionInfo === undefined;
      if (isFree && context.triggerKind === vscode.InlineCompletionTriggerKind.Automatic) {
        const rest = this.suggestions.rest(uri, position);
        if (rest.length > 0) return rest.map((text) => item(text, position));
      }
      const version = document.version;
      const ask = async (cancellation: vscode.CancellationToken): Promise<Items> => {
        const answer = await next(document, position, context, cancellation);
        return Array.isArray(answer) ? answer : (answer?.items ?? []);
      };
      const isInvoked = context.triggerKind === vscode.InlineCompletionTriggerKind.Invoke;
      const known = isInvoked ? this.allAt(document, position) : null;
      const items = known ?? (await ask(cancellation));
      if (cancellation.isCancellationRequested || document.isClosed) return null;
      if (document.version !== version || !isCursor(document, position)) return null;
      const isAlone = isInvoked && isFree && known === null && items.length === 1;
      this.remember(isAlone ? { document, version, position, ask, all: null } : null);
      this.suggestions.suggested(uri, position, items.flatMap(insertedAt(position)));
      return items;
    },
  };

  /**
   * Show the next candidate, or the one before. The editor asks nobody for more at a place where a
   * key has asked already, so that what it has is taken away first.
   */
  async show(which: "showNext" | "showPrevious"): Promise<void> {
    const { first } = this;
    if (first !== null) {
      const source = new vscode.CancellationTokenSource();
      first.all = await first.ask(source.token);
      source.dispose();
      if (this.allAt(first.document, first.position) === null) return;
      await vscode.commands.executeCommand("editor.action.inlineSuggest.hide");
      await vscode.commands.executeCommand("editor.action.inlineSuggest.trigger");
    }
    await vscode.commands.executeCommand(`editor.action.inlineSuggest.${which}`);
  }

  private allAt(document: vscode.TextDocument, position: vscode.Position): Items | null {
    const { first } = this;
    const isThere =
      first?.document === document &&
      first.version === document.version &&
      first.position.isEqual(position) &&
      isCursor(document, position);
    return isThere ? first.all : null;
  }

  private remember(first: First | null): void {
    if ((first !== null) !== (this.first !== null)) {
      void vscode.commands.executeCommand("setContext", MORE, first !== null);
    }
    this.first = first;
  }

  /** Suggestions were paused: nothing that is known may be shown. */
  forget(): void {
    this.suggestions.forget();
  }

  dispose(): void {
    this.remember(null);
    this.subscriptions.dispose();
  }
}

/**
 * Whether a cursor is there. What is suggested for another place of the cursor's line would be
 * drawn there by the editor, and accepted there.
 */
function isCursor(document: vscode.TextDocument, position: vscode.Position): boolean {
  const editors = vscode.window.visibleTextEditors.filter((editor) => editor.document === document);
  return (
    editors.length === 0 || editors.some(({ selection }) => selection.active.isEqual(position))
  );
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
