import assert from "node:assert/strict";
import { test } from "node:test";
import { TypedThrough } from "../../src/typedThrough";

const URI = "file:///a.py";
const AT = { line: 1, character: 11 };

function place(line: number, character: number) {
  return { line, character };
}

function insertion(line: number, character: number, text: string) {
  return { start: place(line, character), end: place(line, character), text };
}

function suggested(...texts: string[]): TypedThrough {
  const through = new TypedThrough();
  through.suggested(URI, AT, texts);
  return through;
}

test("nothing is known at first, and nothing of other places and documents", () => {
  assert.deepEqual(new TypedThrough().rest(URI, AT), []);
  const through = suggested("a + b");
  assert.deepEqual(through.rest(URI, AT), ["a + b"]);
  assert.deepEqual(through.rest(URI, place(1, 10)), []);
  assert.deepEqual(through.rest("file:///b.py", AT), []);
});

test("what is typed on leaves the rest", () => {
  const through = suggested("a + b");
  through.changed(URI, [insertion(1, 11, "a")]);
  assert.deepEqual(through.rest(URI, place(1, 12)), [" + b"]);
  through.changed(URI, [insertion(1, 12, " +")]);
  assert.deepEqual(through.rest(URI, place(1, 14)), [" b"]);
  assert.deepEqual(through.rest(URI, place(1, 13)), []);
});

test("all of it leaves nothing", () => {
  const through = suggested("ab");
  through.changed(URI, [insertion(1, 11, "ab")]);
  assert.deepEqual(through.rest(URI, place(1, 13)), []);
});

test("of several candidates those stay that go on with what was typed", () => {
  const through = suggested("abc", "abd", "xyz");
  through.changed(URI, [insertion(1, 11, "ab")]);
  assert.deepEqual(through.rest(URI, place(1, 13)), ["c", "d"]);
});

test("lines are followed, with either kind of line end", () => {
  for (const end of ["\n", "\r\n"]) {
    const through = suggested("a:\n    b");
    through.changed(URI, [insertion(1, 11, `a:${end}    `)]);
    assert.deepEqual(through.rest(URI, place(2, 4)), ["b"]);
  }
});

test("what is taken back comes back", () => {
  const through = suggested("a + b");
  through.changed(URI, [insertion(1, 11, "a +")]);
  through.changed(URI, [{ start: place(1, 12), end: place(1, 14), text: "" }]);
  assert.deepEqual(through.rest(URI, place(1, 12)), [" + b"]);
  through.changed(URI, [{ start: place(1, 11), end: place(1, 12), text: "" }]);
  assert.deepEqual(through.rest(URI, AT), ["a + b"]);
});

const ENDS: [string, ReturnType<typeof insertion>[]][] = [
  ["something else", [insertion(1, 11, "x")]],
  ["more than is shown", [insertion(1, 11, "a + bc")]],
  ["another place", [insertion(0, 0, "a")]],
  ["two places", [insertion(1, 11, "a"), insertion(0, 0, "a")]],
  ["more taken back than was typed", [{ start: place(1, 10), end: AT, text: "" }]],
  ["a line taken back", [{ start: place(0, 5), end: AT, text: "" }]],
  ["text that takes the place of other text", [{ start: place(1, 9), end: AT, text: "a" }]],
];

for (const [what, changes] of ENDS) {
  test(`${what} ends it`, () => {
    const through = suggested("a + b");
    through.changed(URI, changes);
    for (const character of [9, 10, 11, 12, 17]) {
      assert.deepEqual(through.rest(URI, place(1, character)), []);
    }
  });
}

test("changes of other documents, and empty ones, mean nothing", () => {
  const through = suggested("a + b");
  through.changed("file:///b.py", [insertion(1, 11, "x")]);
  through.changed(URI, []);
  assert.deepEqual(through.rest(URI, AT), ["a + b"]);
});

test("it can be forgotten, and an empty answer forgets", () => {
  const through = suggested("a + b");
  through.forget("file:///b.py");
  assert.deepEqual(through.rest(URI, AT), ["a + b"]);
  through.forget(URI);
  assert.deepEqual(through.rest(URI, AT), []);
  const other = suggested("a + b");
  other.suggested(URI, AT, []);
  assert.deepEqual(other.rest(URI, AT), []);
});
