/** The chat's view: between its page, the session, the editor and the server. */

import * as path from "node:path";
import * as vscode from "vscode";
import { asRange } from "../actions";
import { UserError } from "../errors";
import { type Applied, CHAT_APPLY, type ApplyParams, type Context } from "../protocol";
import type { Server } from "../server";
import { change, effort, own, SECTION } from "../settings";
import type { StatusBar } from "../statusBar";
import { page, webviewOptions } from "../webviewHtml";
import type { ChatState, Chip, FromPage, ShownTurn, ToPage } from "./messages";
import { ChatSession, type ContextItem, type Turn } from "./session";

const VIEW = "ingle.chat";

export class ChatView implements vscode.WebviewViewProvider, vscode.Disposable {
  private readonly session: ChatSession;
  private readonly subscriptions: vscode.Disposable;
  private view: vscode.WebviewView | null = null;
  /** A question that came back while no page was there to take it. */
  private draft = "";
  private wantsFocus = false;

  constructor(
    private readonly extensionUri: vscode.Uri,
    private readonly server: Server,
    private readonly statusBar: StatusBar,
  ) {
    this.session = new ChatSession(
      async (method, params, started) => {
        const source = new vscode.CancellationTokenSource();
        started?.(source);
        try {
          return await server.request(method, params, source.token);
        } finally {
          source.dispose();
        }
      },
      {
        changed: () => {
          this.draw();
        },
        grown: (channel, text) => {
          this.post({ type: "delta", channel, text });
        },
        returned: (question) => {
          this.draft = question;
        },
      },
      contextItem,
      effort,
    );
    this.subscriptions = vscode.Disposable.from(
      vscode.window.registerWebviewViewProvider(VIEW, this),
      server.onDidChatDelta((delta) => {
        this.session.delta(delta);
      }),
      server.onDidChangeStatus(() => {
        this.draw();
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SECTION)) this.draw();
      }),
    );
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.view = view;
    view.webview.options = webviewOptions(this.extensionUri);
    view.webview.onDidReceiveMessage((message: FromPage) => {
      this.received(message).catch((error: unknown) => {
        this.session.report(error);
      });
    });
    view.onDidDispose(() => {
      this.view = null;
    });
    view.webview.html = page(view.webview, this.extensionUri, "chat");
  }

  /** Show the chat, with the cursor in the question. */
  async open(): Promise<void> {
    this.wantsFocus = true;
    await vscode.commands.executeCommand(`${VIEW}.focus`);
    this.post({ type: "focus" });
  }

  async begin(): Promise<void> {
    this.session.begin();
    await this.open();
  }

  async showThreads(): Promise<void> {
    await this.open();
    await this.session.list();
  }

  /** The next question is about the selection, or the whole file, of the active editor. */
  async add(what: "selection" | "file"): Promise<void> {
    this.session.add(activeContext(what));
    await this.open();
  }

  dispose(): void {
    this.session.cancel();
    this.subscriptions.dispose();
  }

  private async received(message: FromPage): Promise<void> {
    const { session } = this;
    switch (message.type) {
      case "ready":
        this.draw();
        if (this.wantsFocus) this.post({ type: "focus" });
        this.wantsFocus = false;
        return;
      case "ask":
        await session.question(message.text);
        return;
      case "cancel":
        session.cancel();
        return;
      case "new":
        session.begin();
        this.post({ type: "focus" });
        return;
      case "threads":
        await session.list();
        return;
      case "back":
        session.back();
        return;
      case "open":
        await session.open(message.thread);
        return;
      case "delete":
        await this.delete(message.thread);
        return;
      case "effort":
        await change("effort", message.effort);
        return;
      case "showAnalysis":
        await change("chat.showAnalysis", message.show);
        return;
      case "add":
        session.add(activeContext(message.what));
        return;
      case "remove":
        session.remove(message.chip);
        return;
      case "apply":
        await this.apply(message.turn, message.block);
        return;
      case "copy":
        await vscode.env.clipboard.writeText(message.text);
        return;
      case "startDaemon":
        await vscode.commands.executeCommand("ingle.startDaemon");
        return;
    }
  }

  private async delete(thread: string): Promise<void> {
    const title = this.session.threads?.find((other) => other.thread === thread)?.title ?? thread;
    const yes = "Delete";
    const chosen = await vscode.window.showWarningMessage(
      `ingle: delete the thread “${title}”?`,
      { modal: true },
      yes,
    );
    if (chosen === yes) await this.session.delete(thread);
  }

  private async apply(turn: number, block: number): Promise<void> {
    const { thread } = this.session;
    if (thread === null) return;
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined) throw new UserError("open the file that this belongs to first");
    const params: ApplyParams = {
      thread,
      turn,
      block,
      uri: editor.document.uri.toString(),
      version: editor.document.version,
      range: asRange(editor.selection),
    };
    const { applied, message } = await this.server.request<Applied>(CHAT_APPLY, params);
    if (!applied) throw new UserError(message || "the document has changed: nothing was edited");
    vscode.window.setStatusBarMessage(`ingle: ${message || "applied"}`, 5000);
  }

  private draw(): void {
    if (this.view === null) return;
    this.post({ type: "state", state: this.state() });
    if (this.draft !== "") this.post({ type: "draft", text: this.draft });
    this.draft = "";
  }

  private post(message: ToPage): void {
    void this.view?.webview.postMessage(message);
  }

  private state(): ChatState {
    const { title, turns, busy, context, threads, thread, problem } = this.session;
    return {
      title,
      turns: turns.map(shownTurn),
      busy,
      effort: effort(),
      showAnalysis: own<boolean>("chat.showAnalysis", false),
      chips: context.map(chip),
      threads,
      thread,
      problem,
      down: this.statusBar.status?.state === "down",
    };
  }
}

function shownTurn({ context, ...turn }: Turn): ShownTurn {
  return { ...turn, chips: context.map(chip) };
}

function chip({ label, title }: ContextItem): Chip {
  return { label, title };
}

function activeContext(what: "selection" | "file"): Context {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) throw new UserError("open a file first");
  const uri = editor.document.uri.toString();
  if (what === "file") return { uri };
  if (editor.selection.isEmpty) throw new UserError("select something in the file first");
  return { uri, range: asRange(editor.selection) };
}

function contextItem({ uri, range }: Context): ContextItem {
  const parsed = vscode.Uri.parse(uri);
  const name = path.posix.basename(parsed.path) || uri;
  const title = vscode.workspace.asRelativePath(parsed);
  if (range === undefined) return { uri, label: name, title };
  const { start, end } = range;
  // A selection of whole lines ends before the first character of the next one.
  const last = end.character === 0 && end.line > start.line ? end.line : end.line + 1;
  const lines = last === start.line + 1 ? `${last}` : `${start.line + 1}-${last}`;
  return { uri, range, label: `${name}:${lines}`, title: `${title}:${lines}` };
}
