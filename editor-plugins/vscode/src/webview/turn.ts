/** One turn of the conversation, drawn. */

import type { Chip, ShownBlock, ShownTurn } from "../chat/messages";
import { button, element, MarkdownView } from "./markdown";

export interface Wishes {
  copy(text: string): void;
  /** `block` is the server's number of it. */
  apply(block: number): void;
}

/** What is said about an answer that did not end by itself. */
const FINISH: Record<string, string> = {
  cancelled: "Stopped.",
  length: "The answer was cut: it reached the longest length that is allowed.",
  deadline: "The answer was cut: it took too long.",
  error: "The answer broke off.",
};

export class TurnView {
  readonly element: HTMLElement;
  private readonly chips = element("ul");
  private readonly analysis = element("details");
  private readonly reasoning = element("div");
  private readonly body = element("div");
  private readonly note = element("p");
  private readonly text: MarkdownView;
  private readonly thoughts: MarkdownView;
  private blocks: ShownBlock[] = [];
  private finish = "";

  constructor(
    readonly role: ShownTurn["role"],
    private readonly wishes: Wishes,
  ) {
    this.element = element("article");
    this.element.className = role;
    this.element.setAttribute("aria-label", role === "user" ? "You" : "ingle");
    this.chips.className = "chips";
    this.body.className = "text";
    this.note.className = "note";
    this.analysis.append(element("summary", "Analysis"), this.reasoning);
    this.analysis.setAttribute("open", "");
    this.text = new MarkdownView(this.body, (code) => this.buttons(code));
    this.thoughts = new MarkdownView(this.reasoning, () => []);
    this.element.append(this.chips, this.analysis, this.body, this.note);
  }

  show(turn: ShownTurn, showAnalysis: boolean): void {
    this.blocks = turn.blocks;
    this.chips.replaceChildren(...turn.chips.map(chip));
    this.chips.hidden = turn.chips.length === 0;
    this.analysis.hidden = !showAnalysis || turn.analysis === "";
    this.thoughts.show(turn.analysis);
    // A question is shown as it was typed.
    if (this.role === "user") this.body.textContent = turn.text;
    else this.text.show(turn.text);
    this.note.textContent = note(turn);
    this.note.hidden = this.note.textContent === "";
    if (this.finish !== turn.finish) this.offerBlocks();
    this.finish = turn.finish;
  }

  /** The buttons of a block of code. It can be applied once the server knows it. */
  private buttons(code: string): HTMLElement[] {
    const copy = button("Copy", () => {
      this.wishes.copy(code);
    });
    const apply = button("Apply", () => {
      const block = this.block(code);
      if (block !== undefined) this.wishes.apply(block.index);
    });
    apply.className = "apply";
    apply.hidden = this.block(code) === undefined;
    return [copy, apply];
  }

  private offerBlocks(): void {
    for (const figure of this.body.querySelectorAll("figure")) {
      const code = figure.querySelector("code")?.textContent ?? "";
      const apply = figure.querySelector<HTMLElement>(".apply");
      if (apply !== null) apply.hidden = this.block(code) === undefined;
    }
  }

  private block(code: string): ShownBlock | undefined {
    return this.blocks.find(({ text }) => text.trimEnd() === code.trimEnd());
  }
}

function chip({ label, title }: Chip): HTMLElement {
  const made = element("li", label);
  made.title = title;
  return made;
}

function note({ role, text, analysis, finish, note: more }: ShownTurn): string {
  if (role === "user") return "";
  if (finish !== "") return [FINISH[finish] ?? "", more].filter(Boolean).join(" ");
  if (text !== "") return "";
  return analysis === "" ? "Waiting…" : "Thinking…";
}
