/**
 * The life of `ingle-lsp`: found, started, started again when it ends by itself, stopped; and the
 * way of every request to it. Owns its process. The language client itself is loaded lazily.
 */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import * as vscode from "vscode";
import type { ShowMessageParams } from "vscode-languageclient/node";
import { UserError } from "./errors";
import { findExecutable, isExecutable } from "./executable";
import type { IngleClient } from "./languageClient";
import { COMMAND, CHAT_DELTA, SHOW_MARKDOWN, STATUS, VERSION } from "./protocol";
import type { ChatDelta, Markdown, Status } from "./protocol";
import { Restarts } from "./restarts";
import { own, SECTION, ServerSettings } from "./settings";
import { withProgress } from "./progress";

/** `missing`: not on PATH. `failed`: it ends or doesn't answer, and is not tried any more. */
export type ServerState = "stopped" | "missing" | "starting" | "running" | "failed";

/** What the user is told, and can do about it. */
export interface Messages {
  /** `ingle-lsp` can't be found or does not work. */
  unavailable(message: string): void;
  /** Another version is needed. */
  outdated(message: string): void;
  /** The server has something to say. */
  said(message: ShowMessageParams): void;
  failed(error: unknown): void;
  startHint(): string;
}

/** Milliseconds in which `ingle-lsp` must answer `initialize`. */
const INITIALIZE_TIMEOUT = 30_000;
const VERSION_TIMEOUT = 10_000;

/** The part of `initialize`'s answer that we look at. */
interface Answer {
  serverInfo?: { name: string; version?: string };
  capabilities: { experimental?: unknown };
}

export class Server implements vscode.Disposable {
  private readonly settings: ServerSettings;
  private readonly restarts = new Restarts();
  private readonly onState = new vscode.EventEmitter<ServerState>();
  private readonly onStatus = new vscode.EventEmitter<Status>();
  private readonly onDelta = new vscode.EventEmitter<ChatDelta>();
  private readonly onMarkdown = new vscode.EventEmitter<Markdown>();
  private readonly subscriptions: vscode.Disposable;
  private current: ServerState = "stopped";
  private client: IngleClient | null = null;
  private process: ChildProcess | null = null;
  private starting: Promise<void> = Promise.resolve();
  /** Counts starts and stops: what belongs to an earlier one is not carried on. */
  private generation = 0;

  readonly onDidChangeState = this.onState.event;
  readonly onDidChangeStatus = this.onStatus.event;
  readonly onDidChatDelta = this.onDelta.event;
  readonly onDidShowMarkdown = this.onMarkdown.event;

  constructor(
    private readonly extensionVersion: string,
    settingNames: readonly string[],
    private readonly log: vscode.LogOutputChannel,
    private readonly messages: Messages,
  ) {
    this.settings = new ServerSettings(settingNames);
    this.subscriptions = vscode.Disposable.from(
      this.onState,
      this.onStatus,
      this.onDelta,
      this.onMarkdown,
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(`${SECTION}.serverPath`)) void this.start();
      }),
    );
  }

  get state(): ServerState {
    return this.current;
  }

  /** What the running server said of itself; null while none runs. */
  get answer(): Answer | null {
    return this.client?.initializeResult ?? null;
  }

  /** Version of our messages that the running server speaks; null for one that has none. */
  get messagesVersion(): number | null {
    return messagesVersion(this.answer);
  }

  /** Start it, or start it again. Never rejects: the user is told what is wrong. */
  start(): Promise<void> {
    this.restarts.forget();
    return this.startAfter(0);
  }

  /** Ask the server. Rejects with what `userMessage` understands. */
  async request<R>(
    method: string,
    params: object,
    cancellation?: vscode.CancellationToken,
  ): Promise<R> {
    const client = await this.running();
    // With an undefined token the library would send the parameters as a list.
    return cancellation === undefined
      ? client.sendRequest<R>(method, params)
      : client.sendRequest<R>(method, params, cancellation);
  }

  /** Run one of the server's commands. `progress` is told how far it is. */
  async command<R>(
    name: (typeof COMMAND)[keyof typeof COMMAND],
    argument?: object,
    cancellation?: vscode.CancellationToken,
    progress?: (message: string) => void,
  ): Promise<R> {
    const params = { command: name, arguments: argument === undefined ? [] : [argument] };
    if (progress === undefined) {
      return this.request<R>("workspace/executeCommand", params, cancellation);
    }
    const client = await this.running();
    const { WorkDoneProgress } = await import("./languageClient");
    const workDoneToken = crypto.randomUUID();
    const listener = client.onProgress(WorkDoneProgress.type, workDoneToken, (report) => {
      if (report.kind === "report" && report.message !== undefined) progress(report.message);
    });
    try {
      const withToken = { ...params, workDoneToken };
      return await this.request<R>("workspace/executeCommand", withToken, cancellation);
    } finally {
      listener.dispose();
    }
  }

  /** Show another candidate of what is suggested. */
  async showCandidate(which: "showNext" | "showPrevious"): Promise<void> {
    const client = await this.running();
    await client.showCandidate(which);
  }

  /** Where `ingle-lsp` is; null if it is nowhere. */
  async find(): Promise<string | null> {
    const configured = own<string>("serverPath", "").trim();
    if (configured !== "") return (await isExecutable(configured)) ? configured : null;
    return findExecutable("ingle-lsp", process.env, process.platform);
  }

  /** What `ingle-lsp --version` says. Rejects if it doesn't. */
  async version(file: string): Promise<string> {
    const { stdout } = await promisify(execFile)(file, ["--version"], { timeout: VERSION_TIMEOUT });
    return stdout.trim();
  }

  async stop(): Promise<void> {
    this.become("stopped");
    await this.end();
  }

  dispose(): void {
    this.subscriptions.dispose();
    void this.stop();
  }

  private startAfter(pause: number): Promise<void> {
    const generation = ++this.generation;
    const isCurrent = () => this.generation === generation;
    this.starting = this.starting.then(async () => {
      if (pause > 0) await delay(pause);
      if (isCurrent()) await this.startNow();
    });
    return this.starting;
  }

  private async startNow(): Promise<void> {
    await this.end();
    const generation = this.generation;
    const file = await this.find();
    if (file === null) {
      this.become("missing");
      this.messages.unavailable(missing());
      return;
    }
    this.become("starting");
    this.settings.forget();
    const isCurrent = () => this.generation === generation;
    try {
      this.process = await spawned(file);
      const client = await this.connected(this.process);
      if (!isCurrent()) {
        await client.dispose();
        return;
      }
      this.client = client;
      this.become("running");
      this.checkVersions(client);
    } catch (error) {
      this.log.error(`ingle-lsp could not be started: ${String(error)}`);
      if (!isCurrent()) return;
      await this.end();
      this.become("failed");
      this.messages.unavailable(`ingle-lsp could not be started (${file}): its log says why.`);
    }
  }

  private async end(): Promise<void> {
    this.generation++;
    const { client, process } = this;
    this.client = null;
    this.process = null;
    try {
      await client?.dispose();
    } catch {
      // It was not fully started, or has ended already.
    } finally {
      process?.kill();
    }
  }

  private async connected(child: ChildProcess): Promise<IngleClient> {
    const { IngleClient } = await import("./languageClient");
    const client: IngleClient = new IngleClient(child, {
      extensionVersion: this.extensionVersion,
      log: this.log,
      settings: () => this.settings.given(),
      closed: () => {
        this.ended(client);
      },
      withProgress,
      startHint: () => this.messages.startHint(),
      tell: (message) => {
        this.messages.said(message);
      },
      failed: (error) => {
        this.messages.failed(error);
      },
    });
    client.onNotification(STATUS, (status: Status) => {
      if (!status.enabled) client.forgetSuggestions();
      this.onStatus.fire(status);
    });
    client.onNotification(CHAT_DELTA, (delta: ChatDelta) => {
      this.onDelta.fire(delta);
    });
    client.onNotification(SHOW_MARKDOWN, (markdown: Markdown) => {
      this.onMarkdown.fire(markdown);
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new Error("no answer to initialize"));
      }, INITIALIZE_TIMEOUT);
    });
    try {
      await Promise.race([client.start(), late]);
    } finally {
      clearTimeout(timer);
    }
    return client;
  }

  /** The process of a running client is gone without our doing. */
  private ended(client: IngleClient): void {
    if (client !== this.client) return;
    this.client = null;
    this.process = null;
    const pause = this.restarts.ended(performance.now());
    if (pause === null) {
      this.become("failed");
      this.messages.unavailable("ingle-lsp ends again and again: its log says why.");
      return;
    }
    this.become("starting");
    this.log.warn(`ingle-lsp has ended; it is started again in ${pause} ms`);
    void this.startAfter(pause);
  }

  private async running(): Promise<IngleClient> {
    if (this.current === "starting") await this.starting;
    if (this.client !== null) return this.client;
    throw new UserError(
      this.current === "missing"
        ? missing()
        : "ingle-lsp is not running: “ingle: Check Health” says why",
    );
  }

  private checkVersions(client: IngleClient): void {
    const theirs = messagesVersion(client.initializeResult);
    if (theirs !== null && theirs >= VERSION) return;
    const version = client.initializeResult?.serverInfo?.version ?? "";
    this.messages.outdated(
      `ingle-lsp ${version} is too old for this extension; only completions work. ` +
        "Upgrade it: pip install -U ingle",
    );
  }

  private become(state: ServerState): void {
    if (this.current === state) return;
    this.current = state;
    this.onState.fire(state);
  }
}

function messagesVersion(answer: Answer | null | undefined): number | null {
  const experimental = answer?.capabilities.experimental as
    { ingle?: { version?: unknown } } | null | undefined;
  const version = experimental?.ingle?.version;
  return typeof version === "number" ? version : null;
}

/** Why there is no server, and what to do. */
function missing(): string {
  const configured = own<string>("serverPath", "").trim();
  return configured === ""
    ? "ingle-lsp is not on the PATH: pip install ingle, or set ingle.serverPath."
    : `ingle.serverPath is not a program: ${configured}`;
}

/** Starts the program; rejects if the system can't run it. */
async function spawned(file: string): Promise<ChildProcess> {
  const child = spawn(file, [], { stdio: "pipe" });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  return child;
}
