import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isCancelled, UserError, userMessage } from "../../src/errors";
import { findExecutable, isExecutable } from "../../src/executable";
import { Restarts } from "../../src/restarts";

// --- finding it ------------------------------------------------------------------------------

const has = (...files: string[]) => {
  return (file: string) => Promise.resolve(files.includes(file));
};

test("the first folder of PATH that has it", async () => {
  const env = { PATH: "/nothing:/one:/two" };
  const found = await findExecutable(
    "ingle-lsp",
    env,
    "linux",
    has("/one/ingle-lsp", "/two/ingle-lsp"),
  );
  assert.equal(found, "/one/ingle-lsp");
});

test("the current folder is never looked into", async () => {
  const everywhere = () => Promise.resolve(true);
  assert.equal(await findExecutable("x", { PATH: ".::bin" }, "linux", everywhere), null);
});

test("no PATH, no program", async () => {
  assert.equal(await findExecutable("x", {}, "linux", () => Promise.resolve(true)), null);
});

test("Windows has endings, and writes PATH as it likes", async () => {
  const env = { Path: "C:\\a;C:\\b", PATHEXT: ".COM;.EXE" };
  const found = await findExecutable("ingle-lsp", env, "win32", has("C:\\b\\ingle-lsp.EXE"));
  assert.equal(found, "C:\\b\\ingle-lsp.EXE");
});

test("a folder is no program, nor is a file that may not be run", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ingle-"));
  try {
    await mkdir(join(folder, "folder"));
    await writeFile(join(folder, "plain"), "");
    await writeFile(join(folder, "program"), "");
    await chmod(join(folder, "program"), 0o755);
    assert.equal(await isExecutable(join(folder, "folder")), false);
    assert.equal(await isExecutable(join(folder, "plain")), false);
    assert.equal(await isExecutable(join(folder, "missing")), false);
    assert.equal(await isExecutable(join(folder, "program")), true);
  } finally {
    await rm(folder, { recursive: true });
  }
});

// --- starting it again -----------------------------------------------------------------------

test("it is started again with growing pauses, and then no more", () => {
  const restarts = new Restarts();
  assert.deepEqual(
    [0, 1, 2, 3].map((now) => restarts.ended(now)),
    [200, 1000, 5000, null],
  );
});

test("what is long ago does not count", () => {
  const restarts = new Restarts();
  restarts.ended(0);
  assert.equal(restarts.ended(179_999), 1000);
  assert.equal(restarts.ended(360_000), 200);
});

test("a start by the user forgives", () => {
  const restarts = new Restarts();
  for (let now = 0; now < 4; now++) restarts.ended(now);
  restarts.forget();
  assert.equal(restarts.ended(5), 200);
});

// --- what the user is told -------------------------------------------------------------------

function answered(code: number, message: string): Error {
  return Object.assign(new Error(message), { code });
}

test("errors of the server are one line", () => {
  assert.equal(userMessage(answered(-32803, "no model\nat x.py:1")), "no model");
  assert.equal(userMessage(new UserError("open a file first")), "open a file first");
});

test("a cancellation is no news", () => {
  const cancelled = Object.assign(new Error("Canceled"), { name: "Canceled" });
  for (const error of [cancelled, answered(-32800, "x"), answered(-32802, "x")]) {
    assert.equal(isCancelled(error), true);
    assert.equal(userMessage(error), null);
  }
});

test("an old server, and one that has ended, have words of their own", () => {
  assert.match(userMessage(answered(-32601, "Method Not Found")) ?? "", /pip install -U ingle/);
  assert.match(userMessage(answered(-32097, "Pending response rejected")) ?? "", /has ended/);
});

test("a defect of ours shows nothing technical", () => {
  const message = userMessage(new TypeError("x is not a function")) ?? "";
  assert.doesNotMatch(message, /not a function/);
  assert.match(message, /Show Log/);
  assert.match(userMessage("thrown text") ?? "", /Show Log/);
});
