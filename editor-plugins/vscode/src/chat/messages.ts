/** What the chat's page and the extension tell each other. No behaviour. */

import type { Effort } from "../protocol";

/** A document or a part of one that a question is about, as the page shows it. */
export interface Chip {
  /** Like `a.py:3-9`. */
  label: string;
  /** The whole path. */
  title: string;
}

/** A block of code in an answer. The page finds it by its text. */
export interface ShownBlock {
  index: number;
  text: string;
}

export interface ShownTurn {
  role: "user" | "assistant";
  text: string;
  analysis: string;
  chips: Chip[];
  blocks: ShownBlock[];
  /** `stop`, `length`, `cancelled`, `error`; empty while the answer is being made. */
  finish: string;
  /** What else the user should know of the answer. */
  note: string;
}

export interface ShownThread {
  thread: string;
  title: string;
  /** ISO 8601, UTC. */
  updated: string;
  turns: number;
}

/** All that the page draws. */
export interface ChatState {
  title: string;
  turns: ShownTurn[];
  /** Whether an answer is being made. */
  busy: boolean;
  /** Null: the daemon decides. */
  effort: Effort | null;
  showAnalysis: boolean;
  /** What the next question is about. */
  chips: Chip[];
  /** The list of threads while it is shown, else null. */
  threads: ShownThread[] | null;
  /** The thread that is open; null for a new one. */
  thread: string | null;
  /** What went wrong last; empty if nothing did. */
  problem: string;
  /** Whether the daemon is down, and can be started from here. */
  down: boolean;
}

export type ToPage =
  | { type: "state"; state: ChatState }
  /** The last turn has grown. */
  | { type: "delta"; channel: "analysis" | "final"; text: string }
  /** Put text into the question's box, if that is empty: a question that failed. */
  | { type: "draft"; text: string }
  | { type: "focus" };

export type FromPage =
  | { type: "ready" }
  | { type: "ask"; text: string }
  | { type: "cancel" }
  | { type: "new" }
  | { type: "threads" }
  | { type: "back" }
  | { type: "open"; thread: string }
  | { type: "delete"; thread: string }
  | { type: "effort"; effort: Effort | null }
  | { type: "showAnalysis"; show: boolean }
  | { type: "add"; what: "selection" | "file" }
  | { type: "remove"; chip: number }
  | { type: "apply"; turn: number; block: number }
  | { type: "copy"; text: string }
  | { type: "startDaemon" };
