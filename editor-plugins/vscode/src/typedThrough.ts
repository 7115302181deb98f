/**
 * Typed-through ghost text: when the user types what is shown, the rest is known already and
 * nothing is asked of the server. Pure; knows one document's newest suggestions.
 */

import type { Position } from "./protocol";

/** A change of a document: `text` takes the place of what stood from `start` to `end`. */
export interface Change {
  start: Position;
  end: Position;
  text: string;
}

interface Shown {
  uri: string;
  /** Where the suggestions begin. */
  at: Position;
  texts: string[];
  /** What of them has been typed. */
  typed: string;
}

/** Follows one suggestion while its text is being typed. */
export class TypedThrough {
  private shown: Shown | null = null;

  /** The server suggested `texts`, to be inserted at a place of a document. */
  suggested(uri: string, at: Position, texts: string[]): void {
    this.shown = texts.length > 0 ? { uri, at, texts, typed: "" } : null;
  }

  /** The document changed. All but typing on, or taking back what was typed, ends it. */
  changed(uri: string, changes: readonly Change[]): void {
    if (this.shown?.uri !== uri || changes.length === 0) return;
    const [change, ...more] = changes;
    const typed = more.length === 0 && change ? this.typedAfter(change, this.shown) : null;
    if (typed === null) this.shown = null;
    else this.shown.typed = typed;
  }

  /** What is left of the suggestions at a place; empty if nothing is known there. */
  rest(uri: string, at: Position): string[] {
    const shown = this.shown;
    if (shown?.uri !== uri || !isSame(at, after(shown.at, shown.typed))) return [];
    return shown.texts
      .filter((text) => text.startsWith(shown.typed) && text.length > shown.typed.length)
      .map((text) => text.slice(shown.typed.length));
  }

  /** A document was closed, or suggestions are not wanted any more. */
  forget(uri?: string): void {
    if (uri === undefined || this.shown?.uri === uri) this.shown = null;
  }

  private typedAfter(change: Change, shown: Shown): string | null {
    const cursor = after(shown.at, shown.typed);
    if (isSame(change.start, change.end)) {
      if (!isSame(change.start, cursor)) return null;
      const typed = shown.typed + unixLines(change.text);
      return shown.texts.some((text) => text.startsWith(typed)) ? typed : null;
    }
    // Taken back: from within what was typed up to the cursor, in one line.
    if (change.text !== "" || !isSame(change.end, cursor) || change.start.line !== cursor.line) {
      return null;
    }
    const kept = shown.typed.length - (cursor.character - change.start.character);
    const typed = kept >= 0 ? shown.typed.slice(0, kept) : null;
    return typed !== null && isSame(change.start, after(shown.at, typed)) ? typed : null;
  }
}

/** Where the cursor stands after `text` was inserted at a place. */
function after(at: Position, text: string): Position {
  const lines = text.split("\n");
  const last = lines[lines.length - 1] ?? "";
  return lines.length === 1
    ? { line: at.line, character: at.character + last.length }
    : { line: at.line + lines.length - 1, character: last.length };
}

function isSame(one: Position, other: Position): boolean {
  return one.line === other.line && one.character === other.character;
}

function unixLines(text: string): string {
  return text.replaceAll("\r\n", "\n");
}
