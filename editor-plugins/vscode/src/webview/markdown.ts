/**
 * Markdown as elements. The library reads it; each of its tokens becomes an element or a text node
 * here, from a fixed list. HTML in it is text, pictures are links: nothing is parsed as HTML and
 * nothing is loaded.
 */

import { lexer, type Token, type Tokens } from "marked";

/** Makes the buttons of a block of code. */
export type BlockButtons = (code: string) => HTMLElement[];

/** A place in the page that shows a Markdown text which may grow. */
export class MarkdownView {
  private shown: string[] = [];

  constructor(
    private readonly place: HTMLElement,
    private readonly buttons: BlockButtons,
  ) {}

  /** Show a text. What is unchanged since the last time stays: selections in it, too. */
  show(text: string): void {
    const tokens = lexer(text);
    const raw = tokens.map((token) => token.raw);
    let same = 0;
    while (same < raw.length && same < this.shown.length && raw[same] === this.shown[same]) same++;
    // Each token is one child, even if it shows nothing.
    while (this.place.children.length > same) this.place.lastElementChild?.remove();
    for (const token of tokens.slice(same)) this.place.append(this.block(token));
    this.shown = raw;
  }

  private block(token: Token): HTMLElement {
    switch (token.type) {
      case "code":
        return this.code(token as Tokens.Code);
      case "heading":
        return withInline(`h${Math.min((token as Tokens.Heading).depth + 1, 6)}`, token);
      case "paragraph":
        return withInline("p", token);
      case "text":
        return withInline("span", token);
      case "blockquote":
        return this.withBlocks("blockquote", (token as Tokens.Blockquote).tokens);
      case "list":
        return this.list(token as Tokens.List);
      case "table":
        return table(token as Tokens.Table);
      case "hr":
        return element("hr");
      case "space":
      case "def":
        return element("span");
      default:
        // HTML, and whatever a later version of the library knows.
        return element("p", token.raw);
    }
  }

  private code({ text, lang }: Tokens.Code): HTMLElement {
    const figure = element("figure");
    const caption = element("figcaption");
    caption.append(element("span", lang?.split(/\s/, 1)[0] ?? ""), ...this.buttons(text));
    const pre = element("pre");
    pre.tabIndex = 0;
    pre.append(element("code", text));
    figure.append(caption, pre);
    return figure;
  }

  private list({ ordered, start, items }: Tokens.List): HTMLElement {
    const list = element(ordered ? "ol" : "ul");
    if (ordered && start !== "" && start !== 1) list.setAttribute("start", String(start));
    for (const item of items) {
      const entry = this.withBlocks(
        "li",
        item.tokens.filter(({ type }) => type !== "checkbox"),
      );
      if (item.task) entry.prepend(item.checked === true ? "☑ " : "☐ ");
      list.append(entry);
    }
    return list;
  }

  private withBlocks(name: string, tokens: readonly Token[]): HTMLElement {
    const made = element(name);
    made.append(...tokens.map((token) => this.block(token)));
    return made;
  }
}

function table({ header, rows }: Tokens.Table): HTMLElement {
  const made = element("table");
  const row = (cells: Tokens.TableCell[], name: string) => {
    const line = element("tr");
    line.append(...cells.map((cell) => withInline(name, cell)));
    return line;
  };
  made.append(row(header, "th"), ...rows.map((cells) => row(cells, "td")));
  return made;
}

function withInline(name: string, token: { tokens?: Token[]; text?: string }): HTMLElement {
  const made = element(name);
  if (token.tokens === undefined) made.append(plain(token.text ?? ""));
  else made.append(...token.tokens.map(inline));
  return made;
}

function inline(token: Token): Node {
  switch (token.type) {
    case "strong":
    case "em":
    case "del":
      return withInline(token.type, token);
    case "codespan":
      return element("code", (token as Tokens.Codespan).text);
    case "br":
      return element("br");
    case "link":
    case "image":
      return link(token as Tokens.Link | Tokens.Image);
    case "escape":
      return document.createTextNode((token as Tokens.Escape).text);
    case "text":
      return withInline("span", token);
    default:
      return document.createTextNode(token.raw);
  }
}

/** The editor opens links of these kinds, after asking; all others are shown as text. */
function link(token: Tokens.Link | Tokens.Image): Node {
  const { href } = token;
  const shown = token.type === "link" ? token.tokens.map(inline) : [plain(token.text || href)];
  if (!/^https?:\/\//i.test(href)) {
    const made = element("span");
    made.append(...shown);
    return made;
  }
  const made = element("a");
  made.setAttribute("href", href);
  made.title = href;
  made.append(...shown);
  return made;
}

const ENTITIES: Record<string, string> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
  "&nbsp;": "\u00a0",
};

/** Text with the few character references that models write. */
function plain(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39|nbsp);/g, (found) => ENTITIES[found] ?? found);
}

/** An element with text in it. */
export function element(name: string, text = ""): HTMLElement {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  return made;
}

/** A button with a text; `pressed` is called with mouse and keyboard. */
export function button(text: string, pressed: () => void, label = text): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  if (label !== text) made.setAttribute("aria-label", label);
  made.addEventListener("click", pressed);
  return made;
}
