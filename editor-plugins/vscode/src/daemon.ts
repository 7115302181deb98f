/** The daemon and its models: what the commands and the menu do with them. */

import * as vscode from "vscode";
import { UserError } from "./errors";
import { withProgress } from "./progress";
import { COMMAND, type Model } from "./protocol";
import type { Server } from "./server";

/** Minutes for which the menu offers to pause suggestions. */
const PAUSES = [10, 60];

export async function startDaemon(server: Server): Promise<void> {
  await withProgress("starting the daemon", (cancellation, progress) =>
    server.command<null>(COMMAND.startDaemon, undefined, cancellation, progress),
  );
}

/** Let the user choose a model, and load it. */
export async function loadModel(server: Server): Promise<void> {
  const models = await server.command<Model[]>(COMMAND.models);
  const items = models
    .filter(({ installed }) => installed)
    .map(({ name, resident, reason, description }) => ({
      label: name,
      description: resident ? "loaded" : reason,
      detail: description,
    }));
  if (items.length === 0) {
    throw new UserError("no model is installed: `ingle pull` in a terminal gets one");
  }
  const chosen = await vscode.window.showQuickPick(items, {
    title: "ingle: Load Model",
    placeHolder: "The one that is loaded now is unloaded first",
    matchOnDetail: true,
  });
  if (chosen === undefined) return;
  await withProgress(`loading ${chosen.label}`, (cancellation, progress) =>
    server.command<null>(COMMAND.loadModel, { model: chosen.label }, cancellation, progress),
  );
}

/** Unload all that is resident: its memory is free then. */
export async function unloadModel(server: Server): Promise<void> {
  await withProgress("unloading the model", (cancellation, progress) =>
    server.command<null>(COMMAND.unloadModel, {}, cancellation, progress),
  );
}

/** Pause suggestions for a while that the user chooses. */
export async function pause(server: Server): Promise<void> {
  const items = [
    ...PAUSES.map((minutes) => ({ label: `For ${minutes} minutes`, argument: { minutes } })),
    { label: "Until I resume them", argument: {} },
  ];
  const chosen = await vscode.window.showQuickPick(items, { title: "ingle: Pause Suggestions" });
  if (chosen === undefined) return;
  await server.command<null>(COMMAND.pause, chosen.argument);
}

export async function resume(server: Server): Promise<void> {
  await server.command<null>(COMMAND.resume);
}
