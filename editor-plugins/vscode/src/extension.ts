/**
 * The extension's entry: makes the parts, names the commands, and starts the language server once
 * the editor is up. Nothing here waits, and the language client is not loaded yet.
 */

import * as vscode from "vscode";
import { edit, explain, runEdit, showBeside } from "./actions";
import { ChatView } from "./chat/view";
import { writeCommitMessage } from "./commitMessage";
import { loadModel, pause, resume, startDaemon, unloadModel } from "./daemon";
import { DocumentPanel } from "./documentPanel";
import { UserError } from "./errors";
import { healthReport } from "./health";
import { showMenu } from "./menu";
import { UserMessages } from "./messages";
import { EFFORTS, type EditParams, type ExplainParams } from "./protocol";
import { Server } from "./server";
import { change, effort } from "./settings";
import { StatusBar } from "./statusBar";

const WALKTHROUGH = "ingle.ingle#start";
const WELCOMED = "welcomed";

let server: Server | null = null;

interface Manifest {
  version: string;
  contributes: { configuration: { properties: Record<string, unknown> } };
}

export function activate(context: vscode.ExtensionContext): void {
  const { version, contributes } = context.extension.packageJSON as Manifest;
  const log = vscode.window.createOutputChannel("ingle", { log: true });
  const messages = new UserMessages(log);
  const settings = Object.keys(contributes.configuration.properties);
  const running = new Server(version, settings, log, messages);
  const statusBar = new StatusBar(running);
  const chat = new ChatView(context.extensionUri, running, statusBar);
  const panel = new DocumentPanel(context.extensionUri);
  server = running;
  context.subscriptions.push(log, running, statusBar, chat, panel);
  context.subscriptions.push(
    running.onDidShowMarkdown((shown) => {
      panel.show(shown);
    }),
  );

  // Commands that a code action of the server may run come with its argument.
  const commands: Record<string, (argument?: unknown) => unknown> = {
    "ingle.menu": () => showMenu(running, statusBar.status),
    "ingle.chat.open": () => chat.open(),
    "ingle.chat.new": () => chat.begin(),
    "ingle.chat.threads": () => chat.showThreads(),
    "ingle.chat.addSelection": () => chat.add("selection"),
    "ingle.chat.addFile": () => chat.add("file"),
    "ingle.explain": (given) => explain(running, given as ExplainParams | undefined),
    "ingle.edit": (given) => runEdit(running, given as EditParams),
    "ingle.fix": () => edit(running, "fix"),
    "ingle.tests": () => edit(running, "tests"),
    "ingle.document": () => edit(running, "document"),
    "ingle.refactor": () => edit(running, "refactor"),
    // Only the editor's key bindings know what is read-only; its API says it nowhere.
    "ingle.refuseReadOnly": () => {
      throw new UserError("this file is read-only");
    },
    "ingle.commitMessage": (source) =>
      writeCommitMessage(running, source as vscode.SourceControl | undefined),
    "ingle.nextCandidate": () => running.showCandidate("showNext"),
    "ingle.previousCandidate": () => running.showCandidate("showPrevious"),
    "ingle.showBeside": (uri) => showBeside(uri as string),
    "ingle.startDaemon": () => startDaemon(running),
    "ingle.loadModel": () => loadModel(running),
    "ingle.unloadModel": () => unloadModel(running),
    "ingle.pause": () => pause(running),
    "ingle.resume": () => resume(running),
    "ingle.selectEffort": () => selectEffort(),
    "ingle.checkHealth": async () => {
      panel.show({ title: "ingle: health", markdown: await healthReport(running, version) });
    },
    "ingle.showLog": () => {
      log.show();
    },
    "ingle.restartServer": () => running.start(),
    "ingle.openWalkthrough": () => openWalkthrough(),
    "ingle.openSettings": () =>
      vscode.commands.executeCommand(
        "workbench.action.openSettings",
        `@ext:${context.extension.id}`,
      ),
  };
  for (const [name, run] of Object.entries(commands)) {
    const told = async (argument?: unknown): Promise<void> => {
      try {
        await run(argument);
      } catch (error) {
        messages.failed(error);
      }
    };
    context.subscriptions.push(vscode.commands.registerCommand(name, told));
  }

  void running.start();
  void welcome(context);
}

export async function deactivate(): Promise<void> {
  await server?.stop();
  server = null;
}

async function selectEffort(): Promise<void> {
  const items = [null, ...EFFORTS].map((each) => ({
    label: each ?? "default",
    description: each === effort() ? "now" : "",
    each,
  }));
  const chosen = await vscode.window.showQuickPick(items, {
    title: "ingle: Reasoning Effort",
    placeHolder: "How long the model may think before it answers in the chat or changes code",
  });
  if (chosen !== undefined) await change("effort", chosen.each);
}

/** The walkthrough opens by itself once, unless the user wants none of any extension. */
async function welcome(context: vscode.ExtensionContext): Promise<void> {
  const isWanted = vscode.workspace
    .getConfiguration("workbench.welcomePage.walkthroughs")
    .get<boolean>("openOnInstall", true);
  if (!isWanted || context.globalState.get(WELCOMED) === true) return;
  await context.globalState.update(WELCOMED, true);
  await openWalkthrough();
}

async function openWalkthrough(): Promise<void> {
  await vscode.commands.executeCommand("workbench.action.openWalkthrough", WALKTHROUGH, false);
}
