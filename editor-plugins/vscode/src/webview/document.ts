/** The page of `DocumentPanel`: one Markdown text. */

import { button, element, MarkdownView } from "./markdown";

interface Shown {
  title: string;
  markdown: string;
}

const editor = acquireVsCodeApi();
const title = element("h1");
const text = element("main");
const view = new MarkdownView(text, (code) => [
  button("Copy", () => {
    editor.postMessage({ type: "copy", text: code });
  }),
]);

document.body.append(title, text);
window.addEventListener("message", ({ data }: MessageEvent<Shown>) => {
  title.textContent = data.title;
  view.show(data.markdown);
});
editor.postMessage({ type: "ready" });
