/**
 * The state of the chat, and what each wish of the user does to it. Knows the server's messages
 * and nothing of the editor or of the page that draws it.
 */

import { userMessage } from "../errors";
import {
  type AssistantTurn,
  type Block,
  CHAT,
  CHAT_DELETE,
  CHAT_THREAD,
  CHAT_THREADS,
  type ChatDelta,
  type ChatParams,
  type ChatResult,
  type Context,
  type Effort,
  type Thread,
  type ThreadSummary,
  type UserTurn,
} from "../protocol";

/** Ends a request. */
export interface Cancellation {
  cancel(): void;
}

/** The way to the server: `started` gets what ends the request. */
export type Ask = <R>(
  method: string,
  params: object,
  started?: (cancellation: Cancellation) => void,
) => Promise<R>;

/** What a question is about, and how that is shown. */
export interface ContextItem extends Context {
  label: string;
  title: string;
}

export interface Turn {
  role: "user" | "assistant";
  text: string;
  analysis: string;
  context: ContextItem[];
  blocks: Block[];
  /** Empty while the answer is being made. */
  finish: string;
  note: string;
}

/** Whom the session tells of its changes. */
export interface Listener {
  changed(): void;
  grown(channel: ChatDelta["channel"], text: string): void;
  /** A question was not answered: it goes back to where it was written. */
  returned(question: string): void;
}

const EMPTY = { text: "", analysis: "", context: [], blocks: [], finish: "", note: "" };

interface Running {
  token: string;
  cancellation: Cancellation | null;
  /** The user wants its end, maybe before it has properly begun. */
  isCancelled: boolean;
}

export class ChatSession {
  thread: string | null = null;
  title = "";
  turns: Turn[] = [];
  context: ContextItem[] = [];
  threads: ThreadSummary[] | null = null;
  problem = "";
  private running: Running | null = null;
  private tokens = 0;

  constructor(
    private readonly ask: Ask,
    private readonly listener: Listener,
    /** How documents are called in front of the user. */
    private readonly label: (context: Context) => ContextItem,
    /** What the user has chosen; null: the server decides. */
    private readonly effort: () => Effort | null,
  ) {}

  get busy(): boolean {
    return this.running !== null;
  }

  /** Ask a question in the thread that is open. Ends when the answer has. */
  async question(text: string): Promise<void> {
    if (text.trim() === "" || this.running !== null) return;
    const running: Running = { token: `c${++this.tokens}`, cancellation: null, isCancelled: false };
    this.running = running;
    const context = this.context;
    const before = this.turns.length;
    this.turns.push(
      { ...EMPTY, role: "user", text, context, finish: "stop" },
      { ...EMPTY, role: "assistant" },
    );
    this.context = [];
    this.threads = null;
    this.problem = "";
    this.listener.changed();
    const effort = this.effort();
    const params: ChatParams = {
      thread: this.thread,
      token: running.token,
      text,
      ...(effort === null ? {} : { effort }),
      context: context.map(({ uri, range }) => (range === undefined ? { uri } : { uri, range })),
    };
    try {
      const result = await this.ask<ChatResult>(CHAT, params, (cancellation) => {
        running.cancellation = cancellation;
        if (running.isCancelled) cancellation.cancel();
      });
      if (this.running === running) this.answered(result);
    } catch (error) {
      if (this.running === running) await this.failed(error, text, context, before);
    } finally {
      if (this.running === running) this.running = null;
      this.listener.changed();
    }
  }

  /** A piece of the answer has come. */
  delta({ token, thread, channel, text }: ChatDelta): void {
    const last = this.turns.at(-1);
    if (this.running?.token !== token || last?.role !== "assistant") return;
    this.thread = thread;
    if (channel === "analysis") last.analysis += text;
    else last.text += text;
    this.listener.grown(channel, text);
  }

  /** End the answer that is being made; what was said stays. */
  cancel(): void {
    if (this.running === null) return;
    this.running.isCancelled = true;
    this.running.cancellation?.cancel();
  }

  /** Begin another thread. An answer that is being made ends. */
  begin(): void {
    this.leave();
    this.listener.changed();
  }

  /** Show the list of threads. */
  async list(): Promise<void> {
    await this.attempt(async () => {
      this.threads = await this.ask<ThreadSummary[]>(CHAT_THREADS, {});
    });
  }

  /** Back from the list to the thread. */
  back(): void {
    this.threads = null;
    this.listener.changed();
  }

  /** Open a thread of the list. */
  async open(thread: string): Promise<void> {
    await this.attempt(async () => {
      const found = await this.ask<Thread>(CHAT_THREAD, { thread });
      this.leave();
      this.take(found);
    });
  }

  /** Delete a thread of the list. */
  async delete(thread: string): Promise<void> {
    await this.attempt(async () => {
      await this.ask<null>(CHAT_DELETE, { thread });
      if (thread === this.thread) this.leave();
      this.threads = await this.ask<ThreadSummary[]>(CHAT_THREADS, {});
    });
  }

  /** The next question is about this, too. */
  add(context: Context): void {
    const item = this.label(context);
    if (!this.context.some(({ label, uri }) => label === item.label && uri === item.uri)) {
      this.context = [...this.context, item];
    }
    this.listener.changed();
  }

  /** The next question is not about this any more; `index` counts the shown ones. */
  remove(index: number): void {
    this.context = this.context.filter((_item, other) => other !== index);
    this.listener.changed();
  }

  /** Say what went wrong, in the page. */
  report(error: unknown): void {
    this.problem = userMessage(error) ?? "";
    this.listener.changed();
  }

  private answered(result: ChatResult): void {
    const last = this.turns.at(-1);
    this.thread = result.thread;
    this.title = result.title;
    if (last === undefined) return;
    // The result is the whole truth; what was streamed is the same, piece by piece.
    last.text = result.text;
    last.blocks = result.blocks;
    last.finish = result.finish;
    last.note = result.note;
  }

  private async failed(
    error: unknown,
    text: string,
    context: ContextItem[],
    before: number,
  ): Promise<void> {
    const problem = userMessage(error);
    const last = this.turns.at(-1);
    const hasBegun = last?.role === "assistant" && last.text + last.analysis !== "";
    if (this.thread !== null && hasBegun) {
      // What the server kept of it, with its blocks of code.
      await this.attempt(async () => {
        this.take(await this.ask<Thread>(CHAT_THREAD, { thread: this.thread }));
      });
      this.problem ||= problem ?? "";
      return;
    }
    this.turns.length = before;
    this.context = context;
    this.problem = problem ?? "";
    this.listener.returned(text);
  }

  private leave(): void {
    this.cancel();
    this.running = null;
    this.thread = null;
    this.title = "";
    this.turns = [];
    this.context = [];
    this.threads = null;
    this.problem = "";
  }

  private take(found: Thread): void {
    this.thread = found.thread;
    this.title = found.title;
    this.turns = found.turns.map((turn) => this.turn(turn));
  }

  private turn(turn: UserTurn | AssistantTurn): Turn {
    const { role, text } = turn;
    if (role === "user") {
      const context = (turn.context ?? []).map((item) => this.label(item));
      return { ...EMPTY, role, text, context, finish: "stop" };
    }
    const { analysis = "", blocks = [], finish = "" } = turn;
    // Nobody makes this answer any more: the process that did was killed.
    return { ...EMPTY, role, text, analysis, blocks, finish: finish || "error" };
  }

  private async attempt(run: () => Promise<void>): Promise<void> {
    this.problem = "";
    try {
      await run();
      this.listener.changed();
    } catch (error) {
      this.report(error);
    }
  }
}
