/**
 * The settings of section `ingle`: which the server gets, and which are the extension's own.
 *
 * Only what the user has set is sent. What is unset is the server's own default, so that an older
 * server never hears of a setting that it doesn't know.
 */

import * as vscode from "vscode";
import { type Effort, EFFORTS } from "./protocol";

export const SECTION = "ingle";

/** Settings of the extension; all others of the section are the server's. */
const OWN = new Set(["serverPath", "chat.showAnalysis", "defaultKeys"]);

/** The server's settings by name; null is the default again. */
export type Given = Record<string, unknown>;

/** Collects what the server is to be told, and remembers what it was told before. */
export class ServerSettings {
  private readonly names: string[];
  private told = new Set<string>();

  /** `properties`: the names in `contributes.configuration`, with the section. */
  constructor(properties: readonly string[]) {
    this.names = properties
      .map((name) => name.slice(SECTION.length + 1))
      .filter((name) => !OWN.has(name));
  }

  /** What the user has set, and null for what is not set any more. */
  given(): Given {
    const configuration = vscode.workspace.getConfiguration(SECTION);
    const given: Given = {};
    for (const name of this.names) {
      const found = configuration.inspect(name);
      const isSet =
        found?.globalValue !== undefined ||
        found?.workspaceValue !== undefined ||
        found?.workspaceFolderValue !== undefined;
      if (isSet) given[name] = configuration.get(name);
      else if (this.told.has(name)) given[name] = null;
      if (isSet) this.told.add(name);
    }
    return given;
  }

  /** A new server knows nothing yet. */
  forget(): void {
    this.told.clear();
  }
}

/** One of the extension's own settings. */
export function own<T>(name: "serverPath" | "chat.showAnalysis" | "defaultKeys", otherwise: T): T {
  return vscode.workspace.getConfiguration(SECTION).get<T>(name, otherwise);
}

/** The reasoning effort that the user has chosen; null if the daemon decides. */
export function effort(): Effort | null {
  const chosen = vscode.workspace.getConfiguration(SECTION).get<string | null>("effort", null);
  return EFFORTS.find((effort) => effort === chosen) ?? null;
}

/** Change a setting where it is set now, else for the user. */
export async function change(
  name: "chat.showAnalysis" | "effort",
  value: boolean | string | null,
): Promise<void> {
  const configuration = vscode.workspace.getConfiguration(SECTION);
  const target =
    configuration.inspect(name)?.workspaceValue === undefined
      ? vscode.ConfigurationTarget.Global
      : vscode.ConfigurationTarget.Workspace;
  await configuration.update(name, value ?? undefined, target);
}
