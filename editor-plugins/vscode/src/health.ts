/** “ingle: Check Health”: each link of the chain from the editor to the model, and what to do. */

import * as vscode from "vscode";
import { userMessage } from "./errors";
import { COMMAND, type Status, VERSION } from "./protocol";
import type { Server } from "./server";

interface Check {
  good: boolean;
  what: string;
  found: string;
  /** What to do if it isn't good. */
  remedy?: string;
}

/** Looks at everything → a report in Markdown. */
export async function healthReport(server: Server, extensionVersion: string): Promise<string> {
  const checks: Check[] = [
    { good: true, what: "Editor", found: `${vscode.env.appName} ${vscode.version}` },
    { good: true, what: "Extension", found: extensionVersion },
    ...(await serverChecks(server)),
  ];
  if (server.state === "running") checks.push(...(await daemonChecks(server)));
  return report(checks);
}

async function serverChecks(server: Server): Promise<Check[]> {
  const what = "Language server";
  const file = await server.find();
  if (file === null) {
    const remedy = "`pip install ingle`, or set `ingle.serverPath` to its full path.";
    return [{ good: false, what, found: "`ingle-lsp` is not on the PATH", remedy }];
  }
  let version: string;
  try {
    version = await server.version(file);
  } catch {
    const remedy = `Run \`${file} --version\` in a terminal: it says why.`;
    return [{ good: false, what, found: `\`${file}\` does not run`, remedy }];
  }
  const checks: Check[] = [{ good: true, what, found: `${version}, \`${file}\`` }];
  if (server.state !== "running") {
    const remedy = "“ingle: Restart Language Server” tries again, “ingle: Show Log” says why.";
    checks.push({ good: false, what: "Its process", found: server.state, remedy });
    return checks;
  }
  const theirs = server.messagesVersion;
  checks.push({
    good: theirs !== null && theirs >= VERSION,
    what: "Messages",
    found: `version ${theirs ?? "0"} there, ${VERSION} here`,
    remedy: "The language server is too old: `pip install -U ingle`.",
  });
  return checks;
}

async function daemonChecks(server: Server): Promise<Check[]> {
  let status: Status;
  try {
    status = await server.command<Status>(COMMAND.status);
  } catch (error) {
    const found = userMessage(error) ?? "no answer";
    return [{ good: false, what: "Daemon", found, remedy: "“ingle: Show Log” says more." }];
  }
  const { state, text, detail, model, device, effort, enabled } = status;
  const isUp = state !== "down" && state !== "incompatible";
  const checks: Check[] = [
    {
      good: isUp,
      what: "Daemon",
      found: isUp ? "runs" : text,
      remedy: detail || "“ingle: Start Daemon” starts it.",
    },
  ];
  if (isUp) {
    checks.push({
      good: state !== "failed",
      what: "Model",
      found: [model || text, device, effort === null ? "" : `effort ${effort}`]
        .filter(Boolean)
        .join(", "),
      remedy: detail || "“ingle: Load Model…” loads another.",
    });
  }
  checks.push({
    good: enabled,
    what: "Suggestions",
    found: enabled ? "on" : "off or paused",
    remedy: "“ingle: Resume Suggestions”, or the setting `ingle.enabled`.",
  });
  return checks;
}

function report(checks: readonly Check[]): string {
  const rows = checks.map(
    ({ good, what, found }) =>
      `| ${good ? "✓" : "✗"} | ${what} | ${found.replaceAll("|", "\\|")} |`,
  );
  const remedies = checks
    .filter(({ good }) => !good)
    .map(({ what, remedy }) => `- **${what}**: ${remedy ?? ""}`);
  return [
    "| | What | Found |",
    "| --- | --- | --- |",
    ...rows,
    "",
    ...(remedies.length > 0 ? ["**What to do**", "", ...remedies] : ["All is well."]),
  ].join("\n");
}
