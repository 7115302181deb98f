/** What the menu of the status bar offers in the state that the daemon is in. Pure. */

import type { Status } from "./protocol";
import type { ServerState } from "./server";

export interface Entry {
  label: string;
  command: string;
  description?: string;
}

/** `status` is the newest one; null if there is none. */
export function entries(server: ServerState, status: Status | null): Entry[] {
  const chosen: Entry[] = [];
  const add = (label: string, command: string, description = "") => {
    chosen.push({ label, command, description });
  };
  const state = server === "running" ? status?.state : undefined;
  if (state === "down") add("$(play) Start daemon", "ingle.startDaemon", status?.detail);
  if (server === "running") {
    const hasDaemon = state !== "down" && state !== "incompatible";
    add("$(comment-discussion) Open chat", "ingle.chat.open");
    if (hasDaemon) add("$(package) Load model…", "ingle.loadModel", status?.model);
    if (state === "ready" || state === "busy") {
      add("$(eject) Unload model", "ingle.unloadModel", "frees its memory");
    }
    add("$(lightbulb) Reasoning effort…", "ingle.selectEffort", status?.effort ?? "default");
    if (status?.enabled === false) add("$(play-circle) Resume suggestions", "ingle.resume");
    else add("$(debug-pause) Pause suggestions…", "ingle.pause");
  } else {
    add("$(refresh) Start language server", "ingle.restartServer");
  }
  add("$(checklist) Check health", "ingle.checkHealth");
  add("$(output) Show log", "ingle.showLog");
  add("$(gear) Settings", "ingle.openSettings");
  return chosen;
}
