import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatSession } from "../../src/chat/session";
import type { ChatParams, ChatResult, Effort, Thread } from "../../src/protocol";

type Answer = (params: never, cancelled: Promise<void>) => unknown;

class Cancelled extends Error {
  readonly code = -32800;
}

/** A session with a server that answers as the test says; `seen` is all it was asked. */
function aSession(answers: Record<string, Answer>, effort: Effort | null = null) {
  const seen: [string, Record<string, unknown>][] = [];
  const returned: string[] = [];
  let drawn = 0;
  const session = new ChatSession(
    async <R>(method: string, params: object, started?: (end: { cancel(): void }) => void) => {
      seen.push([method, params as Record<string, unknown>]);
      const cancelled = new Promise<void>((cancel) => started?.({ cancel }));
      return (await answers[method]?.(params as never, cancelled)) as R;
    },
    {
      changed: () => drawn++,
      grown: () => drawn++,
      returned: (question) => returned.push(question),
    },
    (context) => ({ ...context, label: context.uri.slice(-4), title: context.uri }),
    () => effort,
  );
  return { session, seen, returned, drawn: () => drawn };
}

const RESULT: ChatResult = {
  thread: "t1",
  title: "Why?",
  turn: 1,
  text: "Because.",
  finish: "stop",
  model: "m",
  tokens: 2,
  tokensPerSecond: 1,
  note: "",
  blocks: [],
};

const THREAD: Thread = {
  thread: "t1",
  title: "Why?",
  turns: [
    { role: "user", text: "Why?", context: [{ uri: "file:///a.py" }] },
    { role: "assistant", text: "Bec", finish: "cancelled" },
  ],
};

test("a question begins a thread, and the next one continues it", async () => {
  const { session, seen } = aSession({ "ingle/chat": () => RESULT }, "high");
  session.add({ uri: "file:///a.py" });
  await session.question("Why?");
  await session.question("And?");
  const [first, second] = seen.map(([, params]) => params as unknown as ChatParams);
  assert.equal(first?.thread, null);
  assert.equal(first.effort, "high");
  assert.deepEqual(first.context, [{ uri: "file:///a.py" }]);
  assert.equal(second?.thread, "t1");
  assert.deepEqual(second.context, []);
  assert.notEqual(second.token, first.token);
  assert.deepEqual(
    session.turns.map(({ text }) => text),
    ["Why?", "Because.", "And?", "Because."],
  );
  assert.equal(session.busy, false);
});

test("without a choice the server decides on the effort", async () => {
  const { session, seen } = aSession({ "ingle/chat": () => RESULT });
  await session.question("Why?");
  assert.ok(!("effort" in (seen[0]?.[1] ?? {})));
});

test("the answer grows by its own pieces only", async () => {
  const { session } = aSession({
    "ingle/chat": ({ token }: ChatParams) => {
      session.delta({ token: "other", thread: "t9", channel: "final", text: "x" });
      session.delta({ token, thread: "t1", channel: "analysis", text: "Hm" });
      session.delta({ token, thread: "t1", channel: "final", text: "Bec" });
      assert.equal(session.turns[1]?.text, "Bec");
      assert.equal(session.turns[1].analysis, "Hm");
      assert.equal(session.turns[1].finish, "");
      assert.equal(session.thread, "t1");
      return RESULT;
    },
  });
  await session.question("Why?");
  assert.equal(session.turns[1]?.text, "Because.");
  assert.equal(session.turns[1].finish, "stop");
});

test("a second question has to wait, and an empty one is none", async () => {
  const { session, seen } = aSession({ "ingle/chat": () => RESULT });
  const first = session.question("Why?");
  await session.question("And?");
  await first;
  await session.question(" \n");
  assert.equal(seen.length, 1);
});

test("a question that failed comes back, with what it is about", async () => {
  const { session, returned } = aSession({
    "ingle/chat": () => {
      throw Object.assign(new Error("no model"), { code: -32803 });
    },
  });
  session.add({ uri: "file:///a.py" });
  await session.question("Why?");
  assert.deepEqual(returned, ["Why?"]);
  assert.equal(session.problem, "no model");
  assert.deepEqual(session.turns, []);
  assert.equal(session.context.length, 1);
  assert.equal(session.busy, false);
});

test("a stopped answer stays as the server kept it", async () => {
  const { session, returned } = aSession({
    "ingle/chat": async ({ token }: ChatParams, cancelled: Promise<void>) => {
      session.delta({ token, thread: "t1", channel: "final", text: "Bec" });
      session.cancel();
      await cancelled;
      throw new Cancelled("cancelled");
    },
    "ingle/chat/thread": () => THREAD,
  });
  await session.question("Why?");
  assert.deepEqual(returned, []);
  assert.equal(session.turns[1]?.text, "Bec");
  assert.equal(session.turns[1].finish, "cancelled");
  assert.equal(session.problem, "");
  assert.equal(session.turns[0]?.context[0]?.label, "a.py");
});

test("an answer that broke off stays, and the reason is told", async () => {
  const { session, returned } = aSession({
    "ingle/chat": ({ token }: ChatParams) => {
      session.delta({ token, thread: "t1", channel: "final", text: "Bec" });
      throw Object.assign(new Error("the model's process has died"), { code: -32803 });
    },
    "ingle/chat/thread": () => ({
      ...THREAD,
      turns: [THREAD.turns[0], { role: "assistant", text: "Bec", finish: "" }],
    }),
  });
  await session.question("Why?");
  assert.deepEqual(returned, []);
  assert.equal(session.turns[1]?.text, "Bec");
  assert.equal(session.turns[1].finish, "error");
  assert.equal(session.problem, "the model's process has died");
  assert.equal(session.busy, false);
});

test("one that was stopped before it began leaves nothing", async () => {
  const { session, returned } = aSession({
    "ingle/chat": async (_params, cancelled: Promise<void>) => {
      session.cancel();
      await cancelled;
      throw new Cancelled("cancelled");
    },
  });
  await session.question("Why?");
  assert.deepEqual(session.turns, []);
  assert.deepEqual(returned, ["Why?"]);
  assert.equal(session.problem, "");
});

test("an answer to a thread that was left is not shown", async () => {
  const { session } = aSession({
    "ingle/chat": () => {
      session.begin();
      return RESULT;
    },
  });
  await session.question("Why?");
  assert.deepEqual(session.turns, []);
  assert.equal(session.thread, null);
});

test("threads are listed, opened and deleted", async () => {
  const threads = [{ thread: "t1", title: "Why?", updated: "2026-11-24T18:00:00Z", turns: 2 }];
  const { session, seen } = aSession({
    "ingle/chat/threads": () => [...threads],
    "ingle/chat/thread": () => THREAD,
    "ingle/chat/delete": () => {
      threads.length = 0;
      return null;
    },
  });
  await session.list();
  assert.deepEqual(
    session.threads?.map(({ thread }) => thread),
    ["t1"],
  );
  await session.open("t1");
  assert.equal(session.threads, null);
  assert.equal(session.title, "Why?");
  assert.equal(session.turns.length, 2);
  await session.delete("t1");
  assert.equal(session.thread, null);
  assert.deepEqual(session.threads, []);
  assert.deepEqual(seen[2], ["ingle/chat/delete", { thread: "t1" }]);
});

test("a list that can't be had is a problem, not an end", async () => {
  const { session } = aSession({
    "ingle/chat/threads": () => {
      throw Object.assign(new Error("Method Not Found"), { code: -32601 });
    },
  });
  await session.list();
  assert.match(session.problem, /too old/);
  assert.equal(session.threads, null);
});

test("the same thing is not added twice, and can be removed", () => {
  const { session } = aSession({});
  session.add({ uri: "file:///a.py" });
  session.add({ uri: "file:///a.py" });
  session.add({ uri: "file:///b.py" });
  assert.equal(session.context.length, 2);
  session.remove(0);
  assert.deepEqual(
    session.context.map(({ label }) => label),
    ["b.py"],
  );
});
