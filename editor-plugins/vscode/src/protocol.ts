/**
 * What `ingle-lsp` speaks beyond LSP: names, versions and shapes, as `lsp/README.md` has them in
 * "What plugins need beyond LSP". No behaviour.
 */

/** Version of that section that this extension was written for. */
export const VERSION = 1;

export const STATUS = "ingle/status";
export const SHOW_MARKDOWN = "ingle/showMarkdown";
export const CHAT = "ingle/chat";
export const CHAT_DELTA = "ingle/chat/delta";
export const CHAT_THREADS = "ingle/chat/threads";
export const CHAT_THREAD = "ingle/chat/thread";
export const CHAT_DELETE = "ingle/chat/delete";
export const CHAT_APPLY = "ingle/chat/apply";

/** Commands of the server, for `workspace/executeCommand`. */
export const COMMAND = {
  status: "ingle.status",
  startDaemon: "ingle.startDaemon",
  models: "ingle.models",
  loadModel: "ingle.loadModel",
  unloadModel: "ingle.unloadModel",
  pause: "ingle.pause",
  resume: "ingle.resume",
  edit: "ingle.edit",
  explain: "ingle.explain",
  commitMessage: "ingle.commitMessage",
} as const;

/** A place in a text, LSP's: lines and UTF-16 units, from 0. */
export interface Position {
  line: number;
  character: number;
}

export interface Range {
  start: Position;
  end: Position;
}

export type DaemonState =
  "down" | "starting" | "loading" | "ready" | "busy" | "idle" | "failed" | "incompatible";

export type Effort = "low" | "medium" | "high";

export const EFFORTS: readonly Effort[] = ["low", "medium", "high"];

export interface Status {
  state: DaemonState;
  /** A whole line for a status bar. */
  text: string;
  model: string;
  /** 0 to 1; null when unknown. */
  progress: number | null;
  /** What to do, or why not. */
  detail: string;
  tokensPerSecond: number;
  /** Null: the daemon decides. */
  effort: Effort | null;
  device: string;
  /** False while suggestions are off or paused. */
  enabled: boolean;
}

export interface Model {
  name: string;
  installed: boolean;
  resident: boolean;
  description: string;
  /** Why it can't be loaded; empty if it can. */
  reason: string;
}

export interface EditParams {
  action: "fix" | "tests" | "document" | "refactor";
  instruction?: string;
  uri: string;
  version: number;
  /** Empty: the function, class or paragraph around it. */
  range: Range;
  /** As LSP has them; for `fix`. */
  diagnostics?: unknown[];
}

export interface Applied {
  applied: boolean;
  /** Why not, for the user. */
  message: string;
}

export interface ExplainParams {
  uri: string;
  range: Range;
}

export interface Markdown {
  title: string;
  markdown: string;
}

/** A document, or a part of one, that a question is about. */
export interface Context {
  uri: string;
  range?: Range;
}

/** A fenced block of code in an answer. */
export interface Block {
  index: number;
  language: string;
  text: string;
}

export interface ChatParams {
  thread: string | null;
  token: string;
  text: string;
  effort?: Effort;
  context: Context[];
}

export interface ChatDelta {
  token: string;
  thread: string;
  channel: "analysis" | "final";
  text: string;
}

export interface ChatResult {
  thread: string;
  title: string;
  turn: number;
  text: string;
  finish: string;
  model: string;
  tokens: number;
  tokensPerSecond: number;
  /** A line for the user; mostly empty. */
  note: string;
  blocks: Block[];
}

export interface ThreadSummary {
  thread: string;
  title: string;
  /** ISO 8601, UTC. */
  updated: string;
  turns: number;
}

export interface UserTurn {
  role: "user";
  text: string;
  context?: Context[];
}

export interface AssistantTurn {
  role: "assistant";
  text: string;
  analysis?: string;
  finish?: string;
  blocks?: Block[];
}

export interface Thread {
  thread: string;
  title: string;
  turns: (UserTurn | AssistantTurn)[];
}

export interface ApplyParams {
  thread: string;
  turn: number;
  block: number;
  uri: string;
  version: number;
  range: Range;
}
