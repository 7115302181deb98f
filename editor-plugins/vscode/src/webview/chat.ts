/** The chat's page: draws the state that the extension sends, and tells it the user's wishes. */

import type { ChatState, Chip, FromPage, ShownThread, ToPage } from "../chat/messages";
import type { Effort } from "../protocol";
import { button, element } from "./markdown";
import { TurnView } from "./turn";

const EFFORTS: readonly Effort[] = ["low", "medium", "high"];

const editor = acquireVsCodeApi();

function send(message: FromPage): void {
  editor.postMessage(message);
}

// --- the page ----------------------------------------------------------------------------------

const title = element("h2");
const effort = document.createElement("select");
const analysis = document.createElement("input");
const log = element("main");
const threads = element("nav");
const problem = element("p");
const start = button("Start daemon", () => {
  send({ type: "startDaemon" });
});
const chips = element("ul");
const question = document.createElement("textarea");
const ask = button("Send", askOrCancel);

let state: ChatState | null = null;
let turns: TurnView[] = [];
let isDrawing = false;

function build(): void {
  effort.append(new Option("default", ""), ...EFFORTS.map((name) => new Option(name, name)));
  effort.setAttribute("aria-label", "Reasoning effort");
  effort.addEventListener("change", () => {
    send({ type: "effort", effort: (effort.value as Effort | "") || null });
  });
  analysis.type = "checkbox";
  analysis.addEventListener("change", () => {
    send({ type: "showAnalysis", show: analysis.checked });
  });
  const analysisLabel = element("label");
  analysisLabel.append(analysis, " Show analysis");
  const effortLabel = element("label", "Effort ");
  effortLabel.append(effort);
  const options = element("div");
  options.className = "options";
  options.append(effortLabel, analysisLabel);
  const header = element("header");
  header.append(title, options);

  log.setAttribute("role", "log");
  log.setAttribute("aria-label", "Conversation");
  log.tabIndex = 0;
  threads.setAttribute("aria-label", "Threads");
  problem.setAttribute("role", "alert");
  problem.className = "problem";

  question.rows = 3;
  question.placeholder = "Ask about your code. Enter sends, Shift+Enter begins a line.";
  question.setAttribute("aria-label", "Question");
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (state?.busy === false) askOrCancel();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || state === null) return;
    if (state.busy) send({ type: "cancel" });
    else if (state.threads !== null) send({ type: "back" });
  });
  const more = element("div");
  more.className = "row";
  const add = (what: "selection" | "file") =>
    button(
      what === "selection" ? "+ Selection" : "+ File",
      () => {
        send({ type: "add", what });
      },
      `Add the ${what} to the question`,
    );
  ask.className = "primary";
  more.append(add("selection"), add("file"), ask);
  chips.className = "chips";
  chips.setAttribute("aria-label", "What the question is about");
  const footer = element("footer");
  footer.append(problem, start, chips, question, more);
  document.body.append(header, threads, log, footer);
}

function askOrCancel(): void {
  if (state?.busy === true) {
    send({ type: "cancel" });
    return;
  }
  const text = question.value.trim();
  if (text === "") return;
  question.value = "";
  send({ type: "ask", text });
}

// --- drawing -----------------------------------------------------------------------------------

function draw(next: ChatState): void {
  const isOther = state?.thread !== next.thread && !next.busy;
  state = next;
  title.textContent = next.threads === null ? next.title || "New chat" : "Threads";
  effort.value = next.effort ?? "";
  analysis.checked = next.showAnalysis;
  problem.textContent = next.problem;
  problem.hidden = next.problem === "";
  start.hidden = !next.down;
  ask.textContent = next.busy ? "Stop" : "Send";
  threads.hidden = next.threads === null;
  log.hidden = next.threads !== null;
  threads.replaceChildren(...(next.threads ?? []).map(thread));
  if (next.threads?.length === 0) threads.append(element("p", "There are no threads yet."));
  chips.replaceChildren(...next.chips.map(removableChip));
  chips.hidden = next.chips.length === 0;
  drawTurns(next, isOther);
}

function drawTurns(next: ChatState, isOther: boolean): void {
  const wasAtEnd = isAtEnd();
  if (isOther) {
    for (const view of turns) view.element.remove();
    turns = [];
  }
  for (const view of turns.splice(next.turns.length)) view.element.remove();
  next.turns.forEach((turn, index) => {
    let view = turns[index];
    if (view?.role !== turn.role) {
      view?.element.remove();
      view = new TurnView(turn.role, {
        copy: (text) => {
          send({ type: "copy", text });
        },
        apply: (block) => {
          send({ type: "apply", turn: index, block });
        },
      });
      turns[index] = view;
      log.insertBefore(view.element, turns[index + 1]?.element ?? null);
    }
    view.show(turn, next.showAnalysis);
  });
  log.setAttribute("aria-busy", String(next.busy));
  if (wasAtEnd) scrollToEnd();
}

/** Pieces come faster than the screen can show them: they are drawn together. */
function grow(channel: "analysis" | "final", text: string): void {
  const last = state?.turns.at(-1);
  if (state === null || last === undefined) return;
  if (channel === "analysis") last.analysis += text;
  else last.text += text;
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    if (state !== null) drawTurns(state, false);
  });
}

function thread({ thread: name, title: text, updated, turns: count }: ShownThread): HTMLElement {
  const row = element("div");
  row.className = "thread";
  const open = button(text || name, () => {
    send({ type: "open", thread: name });
  });
  const when = new Date(updated).toLocaleString();
  open.append(element("small", `${when} · ${count} ${count === 1 ? "turn" : "turns"}`));
  if (name === state?.thread) open.setAttribute("aria-current", "true");
  row.append(
    open,
    button(
      "Delete",
      () => {
        send({ type: "delete", thread: name });
      },
      `Delete ${text}`,
    ),
  );
  return row;
}

function removableChip({ label, title: path }: Chip, index: number): HTMLElement {
  const chip = element("li", label);
  chip.title = path;
  chip.append(
    button(
      "×",
      () => {
        send({ type: "remove", chip: index });
      },
      `Remove ${label}`,
    ),
  );
  return chip;
}

function isAtEnd(): boolean {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 40;
}

function scrollToEnd(): void {
  log.scrollTop = log.scrollHeight;
}

build();
window.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
  if (data.type === "state") draw(data.state);
  else if (data.type === "delta") grow(data.channel, data.text);
  else if (data.type === "draft") question.value ||= data.text;
  else question.focus();
});
send({ type: "ready" });
