/**
 * Random edits in a real editor, with suggestions on. VS Code runs this inside of its extension
 * host (`extensionTestsPath`). After every edit the document must be what a model of it expects.
 *
 * `INGLE_STORM` names a JSON file with what to do; what was found is written to its `result`. The
 * window stays until that file is removed.
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import * as vscode from "vscode";

interface Plan {
  file: string;
  result: string;
  seed: number;
  edits: number;
  /** What the engine always says: accepted text is a part of it. */
  script: string;
}

/**
 * No closing bracket: where one is the first of its line, VS Code takes the line's indentation from
 * the opening one's, whatever `editor.autoIndent` says (its "electric characters").
 */
const PIECES = ["a", "b", " ", "x", "(", ",", "=", "\n", "é", "漢", "😀", "    ", "return ", "# "];

/** The document and the cursor, as they must be. Offsets count UTF-16 units. */
class Model {
  text = "";
  cursor = 0;

  insert(text: string): void {
    this.replace(this.cursor, this.cursor, text);
  }

  replace(start: number, end: number, text: string): void {
    this.text = this.text.slice(0, start) + text + this.text.slice(end);
    this.cursor = start + text.length;
  }

  /** Where the character before, or after, the cursor begins or ends. */
  neighbour(step: -1 | 1): number {
    const next = Math.min(Math.max(this.cursor + step, 0), this.text.length);
    const inside = /[\uDC00-\uDFFF]/.test(this.text[next] ?? "");
    return inside ? next + step : next;
  }
}

/** Small and repeatable: mulberry32. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export async function run(): Promise<void> {
  const plan = JSON.parse(readFileSync(process.env["INGLE_STORM"] ?? "", "utf8")) as Plan;
  let found: object;
  try {
    found = await storm(plan);
  } catch (error) {
    found = { problem: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  // In one go, because somebody waits for it.
  writeFileSync(`${plan.result}.new`, JSON.stringify(found));
  renameSync(`${plan.result}.new`, plan.result);
  // Once this returns the window is closed; until then somebody looks at it.
  while (existsSync(plan.result)) await delay(50);
}

async function storm(plan: Plan): Promise<object> {
  await vscode.extensions.getExtension("ingle.ingle")?.activate();
  const document = await vscode.workspace.openTextDocument(plan.file);
  const editor = await vscode.window.showTextDocument(document);
  const below = randomNumbers(plan.seed);
  const model = new Model();
  model.text = document.getText();
  let accepted = 0;

  const place = (offset: number) => document.positionAt(offset);
  const command = (name: string, argument?: object) =>
    vscode.commands.executeCommand(name, argument);
  const select = (offset: number) => {
    done.push(`cursor at ${offset}`);
    model.cursor = offset;
    editor.selection = new vscode.Selection(place(offset), place(offset));
  };
  /** Some offset that is not in the middle of a character. */
  const somewhere = () => {
    const offset = below(model.text.length + 1);
    return /[\uDC00-\uDFFF]/.test(model.text[offset] ?? "") ? offset + 1 : offset;
  };
  /** What was done, for whoever looks for what went wrong. */
  const done: string[] = [];
  const accept = async (name: string) => {
    done.push(name);
    await command(name);
    const now = document.getText();
    const added = now.length - model.text.length;
    const text = now.slice(model.cursor, model.cursor + added);
    if (added > 0 && plan.script.includes(text)) {
      model.insert(text);
      accepted++;
    }
  };
  const steps: (() => unknown)[] = [
    ...Array.from({ length: 8 }, () => async () => {
      const text = PIECES[below(PIECES.length)] ?? "";
      done.push(`type ${JSON.stringify(text)}`);
      await command("type", { text });
      model.insert(text);
    }),
    // Typing on what is shown.
    async () => {
      await delay(below(200));
      done.push("type on");
      await command("type", { text: plan.script.slice(0, 1) });
      model.insert(plan.script.slice(0, 1));
    },
    async () => {
      done.push("delete left");
      await command("deleteLeft");
      model.replace(model.neighbour(-1), model.cursor, "");
    },
    async () => {
      done.push("delete right");
      await command("deleteRight");
      const { cursor } = model;
      model.replace(cursor, model.neighbour(1), "");
    },
    () => {
      select(somewhere());
    },
    async () => {
      const [start = 0, end = 0] = [somewhere(), somewhere()].sort((one, other) => one - other);
      const short = Math.min(end, start + 10);
      const last = /[\uDC00-\uDFFF]/.test(model.text[short] ?? "") ? short + 1 : short;
      const text = PIECES[below(PIECES.length)] ?? "";
      done.push(`replace ${start} to ${last} by ${JSON.stringify(text)}`);
      await editor.edit((edits) => {
        edits.replace(new vscode.Range(place(start), place(last)), text);
      });
      model.replace(start, last, text);
      select(model.cursor);
    },
    async () => {
      await delay(below(200));
      await accept("editor.action.inlineSuggest.commit");
    },
    async () => {
      await delay(below(200));
      await accept("editor.action.inlineSuggest.acceptNextWord");
    },
    () => command("editor.action.inlineSuggest.trigger"),
    () => command("editor.action.inlineSuggest.hide"),
  ];

  for (let edit = 0; edit < plan.edits; edit++) {
    await steps[below(steps.length)]?.();
    const now = document.getText();
    if (now !== model.text) {
      return { problem: `edit ${edit}`, expected: model.text, found: now, done: done.slice(-8) };
    }
  }
  // Whoever looks at the window afterwards finds ghost text at the end.
  await command("editor.action.inlineSuggest.hide");
  select(model.text.length);
  for (const text of "\nx = ") {
    await command("type", { text });
    model.insert(text);
  }
  return { accepted, text: model.text };
}
