/**
 * The language client: vscode-languageclient with our handshake, our settings, and silence where
 * it would show technical messages. Loaded only when a language server is started, because the
 * library is most of this extension's code.
 */

import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import * as vscode from "vscode";
import {
  type ClientCapabilities,
  CloseAction,
  type CodeAction,
  CodeActionResolveRequest,
  DidChangeConfigurationNotification,
  type DynamicFeature,
  ErrorAction,
  ExecuteCommandRequest,
  type FeatureState,
  type InitializeParams,
  LanguageClient,
  type LanguageClientOptions,
  type Middleware,
  RevealOutputChannelOn,
  ShowMessageNotification,
  type ShowMessageParams,
  type StaticFeature,
  WorkDoneProgress,
  type WorkspaceEdit,
} from "vscode-languageclient/node";
import { GhostText } from "./ghostText";
import { VERSION } from "./protocol";
import { isReadOnly } from "./readOnly";
import type { Given } from "./settings";

/** What the client needs of the rest of the extension. */
export interface Surroundings {
  readonly extensionVersion: string;
  readonly log: vscode.LogOutputChannel;
  /** The settings that the user has set. */
  settings(): Given;
  /** The connection is gone, whoever ended it. */
  closed(): void;
  /** Run a slow request where the user can see and cancel it. */
  withProgress<R>(
    title: string,
    run: (cancellation: vscode.CancellationToken) => Promise<R>,
  ): Promise<R>;
  /** How the user starts the daemon, for the server's messages. */
  startHint(): string;
  /** A message of the server, for the user. */
  tell(message: ShowMessageParams): void;
  /** Tell the user why something was not done. */
  failed(error: unknown): void;
}

export { WorkDoneProgress };

/** A client of one process of `ingle-lsp`; another process gets another client. */
export class IngleClient extends LanguageClient {
  private readonly ghostText: GhostText;

  constructor(process: ChildProcess, surroundings: Surroundings) {
    const ghostText = new GhostText();
    super(
      "ingle",
      "ingle",
      () => Promise.resolve(process),
      options(surroundings, ghostText, () => this),
    );
    this.ghostText = ghostText;
    this.registerFeature(new Handshake(surroundings));
    this.onNotification(ShowMessageNotification.type, (message) => {
      surroundings.tell(message);
    });
  }

  /**
   * Commands are called by this extension, with progress and cancellation. The library would also
   * register each as a command of the editor, under the names that are ours.
   */
  override registerFeature(feature: StaticFeature | DynamicFeature<unknown>): void {
    const isCommands =
      "registrationType" in feature &&
      feature.registrationType.method === ExecuteCommandRequest.method;
    if (!isCommands) super.registerFeature(feature);
  }

  /** To the log only: what the user can do about it, the extension says itself. */
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }

  override warn(message: string, data?: unknown): void {
    super.warn(message, data, false);
  }

  override info(message: string, data?: unknown): void {
    super.info(message, data, false);
  }

  override async dispose(timeout?: number): Promise<void> {
    this.ghostText.dispose();
    await super.dispose(timeout);
  }

  /** Show another candidate of what is suggested. */
  async showCandidate(which: "showNext" | "showPrevious"): Promise<void> {
    await this.ghostText.show(which);
  }

  /** Suggestions were paused: nothing that is known may be shown. */
  forgetSuggestions(): void {
    this.ghostText.forget();
  }

  /** Settings have changed. */
  async sendSettings(settings: Given): Promise<void> {
    await this.sendNotification(DidChangeConfigurationNotification.type, {
      settings: { ingle: settings },
    });
  }
}

/** Says in `initialize` who we are and what we can show. */
class Handshake implements StaticFeature {
  constructor(private readonly surroundings: Surroundings) {}

  fillInitializeParams(params: InitializeParams): void {
    params.clientInfo = { name: "ingle.vscode", version: this.surroundings.extensionVersion };
  }

  fillClientCapabilities(capabilities: ClientCapabilities): void {
    capabilities.experimental = {
      ...(capabilities.experimental as Record<string, unknown> | undefined),
      ingle: {
        version: VERSION,
        status: true,
        showMarkdown: true,
        candidates: true,
        startHint: this.surroundings.startHint(),
      },
    };
  }

  initialize(): void {
    // The server's answer is read by the one who started the client.
  }

  getState(): FeatureState {
    return { kind: "static" };
  }

  clear(): void {
    // Nothing is held.
  }
}

function options(
  surroundings: Surroundings,
  ghostText: GhostText,
  client: () => IngleClient,
): LanguageClientOptions {
  return {
    documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
    outputChannel: surroundings.log,
    stdioOptions: {
      // The messages; read by the library itself.
      stdout: () => undefined,
      // The server's log says itself how bad a thing is.
      stderr: (input) => {
        createInterface({ input }).on("line", (line) => {
          surroundings.log.info(line);
        });
      },
    },
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    initializationOptions: () => surroundings.settings(),
    initializationFailedHandler: () => false,
    errorHandler: {
      error: () => ({ action: ErrorAction.Continue, handled: true }),
      closed: () => {
        surroundings.closed();
        return { action: CloseAction.DoNotRestart, handled: true };
      },
    },
    middleware: { ...ghostText.middleware, ...middleware(surroundings, client) },
  };
}

function middleware(surroundings: Surroundings, client: () => IngleClient): Middleware {
  return {
    workspace: {
      // The server sees its own settings only, and only those that are set.
      configuration: (params) => params.items.map(() => surroundings.settings()),
      didChangeConfiguration: () => client().sendSettings(surroundings.settings()),
      handleApplyEdit: async (params, next) =>
        (await touchesReadOnly(client(), params.edit))
          ? { applied: false, failureReason: "this file is read-only" }
          : next(params, new vscode.CancellationTokenSource().token),
    },
    // Code actions are lent to other requesters, too, such as "Fix all on save": none of ours has
    // a kind that is asked for without the user.
    resolveCodeAction: async (action, cancellation) => {
      try {
        return await surroundings.withProgress(action.title, async (cancelled) => {
          const source = new vscode.CancellationTokenSource();
          const listeners = [cancelled, cancellation].map((token) =>
            token.onCancellationRequested(() => {
              source.cancel();
            }),
          );
          try {
            return await resolved(client(), action, source.token);
          } finally {
            vscode.Disposable.from(...listeners, source).dispose();
          }
        });
      } catch (error) {
        surroundings.failed(error);
        return action;
      }
    },
  };
}

async function touchesReadOnly(client: IngleClient, edit: WorkspaceEdit): Promise<boolean> {
  const uris = (edit.documentChanges ?? []).flatMap((change) =>
    "textDocument" in change ? [change.textDocument.uri] : [],
  );
  const found = await Promise.all(
    uris.map((uri) => isReadOnly(client.protocol2CodeConverter.asUri(uri))),
  );
  return found.includes(true);
}

/** Fill in a code action's edit. An edit for a text that is not there any more is refused. */
async function resolved(
  client: IngleClient,
  action: vscode.CodeAction,
  cancellation: vscode.CancellationToken,
): Promise<vscode.CodeAction> {
  const asked = await client.code2ProtocolConverter.asCodeAction(action, cancellation);
  const answer = await client.sendRequest(CodeActionResolveRequest.type, asked, cancellation);
  for (const change of answer.edit?.documentChanges ?? []) {
    if (!("textDocument" in change) || change.textDocument.version === null) continue;
    const uri = client.protocol2CodeConverter.asUri(change.textDocument.uri).toString();
    const document = vscode.workspace.textDocuments.find((open) => open.uri.toString() === uri);
    if (document !== undefined && document.version !== change.textDocument.version) {
      throw new DocumentChanged();
    }
  }
  showElsewhere(answer);
  return client.protocol2CodeConverter.asCodeAction(answer, cancellation);
}

/**
 * Show what is edited elsewhere, such as a new file with tests: the editor itself would save such a
 * file without a word.
 */
function showElsewhere(action: CodeAction): void {
  const { uri } = action.data as { uri: string };
  const other = action.edit?.documentChanges?.find(
    (change) => "textDocument" in change && change.textDocument.uri !== uri,
  );
  if (other === undefined || !("textDocument" in other)) return;
  const command = "ingle.showBeside";
  action.command = { title: action.title, command, arguments: [other.textDocument.uri] };
}

/** See `UserError`; LSP's code, so that it reads as an answer of the server. */
class DocumentChanged extends Error {
  readonly code = -32801;

  constructor() {
    super("the document has changed meanwhile: nothing was edited");
  }
}
