import assert from "node:assert/strict";
import { test } from "node:test";
import { entries } from "../../src/menuEntries";
import type { DaemonState, Status } from "../../src/protocol";
import { statusLine } from "../../src/statusLine";

const READY: Status = {
  state: "ready",
  text: "gpt-oss-20b",
  model: "gpt-oss-20b",
  progress: null,
  detail: "",
  tokensPerSecond: 0,
  effort: "low",
  device: "RTX 4090",
  enabled: true,
};

function commands(server: Parameters<typeof entries>[0], status: Status | null): string[] {
  return entries(server, status).map(({ command }) => command);
}

test("a status is shown with its text, its effort and its device", () => {
  const { text, tooltip, severity } = statusLine("running", READY);
  assert.equal(text, "$(flame) gpt-oss-20b");
  assert.deepEqual(tooltip.split("\n"), ["ingle: gpt-oss-20b", "RTX 4090", "effort: low"]);
  assert.equal(severity, "none");
});

test("what needs the user stands out, and says what to do", () => {
  const down: Status = { ...READY, state: "down", text: "the daemon is not running", detail: "x" };
  assert.equal(statusLine("running", down).severity, "warning");
  assert.match(statusLine("running", down).tooltip, /\nx/);
  assert.equal(statusLine("running", { ...READY, state: "failed" }).severity, "error");
  assert.equal(statusLine("failed", null).severity, "error");
  assert.equal(statusLine("missing", null).severity, "warning");
});

test("a status of a server that is gone counts no more", () => {
  assert.doesNotMatch(statusLine("failed", READY).text, /gpt-oss/);
});

test("every state has an icon of its own, paused suggestions too", () => {
  const states: DaemonState[] = ["down", "loading", "ready", "busy", "idle", "failed"];
  const icons = states.map((state) => statusLine("running", { ...READY, state }).text);
  icons.push(statusLine("running", { ...READY, enabled: false }).text);
  assert.equal(new Set(icons).size, states.length + 1);
});

test("an unknown state of a newer server is shown by its text", () => {
  const state = "dreaming" as DaemonState;
  assert.equal(statusLine("running", { ...READY, state }).text, "$(flame) gpt-oss-20b");
});

test("a model's name draws no icons", () => {
  const text = "$(error)";
  assert.equal(statusLine("running", { ...READY, text }).text, "$(flame) $ (error)");
});

test("the menu offers what makes sense", () => {
  const ready = commands("running", READY);
  for (const command of ["chat.open", "loadModel", "unloadModel", "selectEffort", "pause"]) {
    assert.ok(ready.includes(`ingle.${command}`), command);
  }
  assert.ok(!ready.includes("ingle.startDaemon"));
  assert.ok(!ready.includes("ingle.resume"));

  const down = commands("running", { ...READY, state: "down", enabled: false });
  assert.equal(down[0], "ingle.startDaemon");
  assert.ok(!down.includes("ingle.loadModel"));
  assert.ok(down.includes("ingle.resume"));

  const missing = commands("missing", null);
  assert.deepEqual(missing.slice(0, 2), ["ingle.restartServer", "ingle.checkHealth"]);
});
