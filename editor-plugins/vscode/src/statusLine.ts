/** What the status bar says about a status of the daemon. Pure. */

import type { DaemonState, Status } from "./protocol";
import type { ServerState } from "./server";

export interface StatusLine {
  /** With an icon in VS Code's way: `$(name)`. */
  text: string;
  tooltip: string;
  severity: "none" | "warning" | "error";
}

const ICONS: Record<DaemonState, string> = {
  down: "debug-disconnect",
  starting: "loading~spin",
  loading: "loading~spin",
  ready: "flame",
  busy: "pulse",
  idle: "circle-outline",
  failed: "error",
  incompatible: "warning",
};

const SEVERITIES: Partial<Record<DaemonState, StatusLine["severity"]>> = {
  down: "warning",
  failed: "error",
  incompatible: "error",
};

/** What stands there while the language server itself has nothing to say. */
const WITHOUT_SERVER: Record<ServerState, StatusLine> = {
  stopped: { text: "$(circle-slash) ingle", tooltip: "ingle is stopped", severity: "none" },
  missing: {
    text: "$(warning) ingle",
    tooltip: "ingle-lsp is not on the PATH",
    severity: "warning",
  },
  starting: { text: "$(loading~spin) ingle", tooltip: "ingle-lsp starts", severity: "none" },
  running: { text: "$(flame) ingle", tooltip: "ingle-lsp runs", severity: "none" },
  failed: {
    text: "$(error) ingle",
    tooltip: "ingle-lsp has ended: its log says why",
    severity: "error",
  },
};

/** `status` is the newest one of the running server; null if it has sent none. */
export function statusLine(server: ServerState, status: Status | null): StatusLine {
  if (server !== "running" || status === null) return WITHOUT_SERVER[server];
  const paused = !status.enabled && SEVERITIES[status.state] === undefined;
  // An unknown state is one of a newer server; its text says what it is.
  const icon = paused ? "debug-pause" : ((ICONS[status.state] as string | undefined) ?? "flame");
  const more = [
    status.detail,
    status.device,
    status.effort === null ? "" : `effort: ${status.effort}`,
    status.enabled ? "" : "suggestions are off",
  ].filter(Boolean);
  return {
    text: `$(${icon}) ${withoutIcons(status.text)}`,
    tooltip: [`ingle: ${status.text}`, ...more].join("\n"),
    severity: SEVERITIES[status.state] ?? "none",
  };
}

/** A model's name can't draw icons. */
function withoutIcons(text: string): string {
  return text.replaceAll("$(", "$ (");
}
