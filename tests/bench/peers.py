"""How others complete, driven by clients of our own that follow their public documentation.

- `LlamaVim`: llama.cpp's HTTP server as llama.vim drives it (its documented defaults: 256 lines of
  prefix, 64 of suffix, 128 tokens, `cache_prompt`, `t_max_prompt_ms` 500, `t_max_predict_ms` 1000
  and 250 for what is typed right now, 250 remembered results). It asks at every cursor movement,
  lets a running request end, tries again every 100 ms meanwhile, shows what is remembered as one
  types through it, and computes the next suggestion once one is visible.
- `LlamaVscode`: the same server as llama.vscode drives it (500 ms of prediction; while a request
  runs it waits in steps of 150 ms, and gives up if another key came; the next suggestion ahead).
- `Fifo`: one slot, first come first served, as Ollama serves with one parallel request; its client
  waits 350 ms after a key, as Continue does by default, and gives up by closing the connection.

Two things are not as in real life, for both sides' sake. The demo model has no fill-in-the-middle
tokens, so that `/infill` refuses it: the same fields go to `/completion`, with the text before the
cursor as the prompt, which is what ingle sends for such a model, too. And llama.vim's ring of extra
context stays empty by its own rules: its chunks come from further than 256 lines before or 64 after
the cursor, and from other buffers; the documents here are shorter. llama.vim asks for slot 0, where
a chat may be: left out, or it would wait for that chat's end.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .llama_http import LlamaServer
from .traces import Stroke
from .typist import Document

#: Lines around the cursor, tokens, remembered results, longest rest of a line: both plug-ins'.
PREFIX_LINES = 256
SUFFIX_LINES = 64
PREDICT = 128
REMEMBERED = 250
LINE_SUFFIX = 8
#: Typed characters through which a remembered result is followed.
FOLLOWED = 128
#: Seconds for which the first prompt of a document is waited for.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Place:
    """The cursor's surroundings as they are sent."""

    prefix: str
    suffix: str
    indent: int
    rest_of_line: str


def place_of(document: Document) -> Place:
    """What is sent for a cursor; on a blank line from the beginning of the line."""
    *above, line = document.before.split("\n")[-PREFIX_LINES - 1 :]
    rest, *below = document.after.split("\n")[: SUFFIX_LINES + 1]
    if not (line + rest).strip():
        line = rest = ""
    return Place(
        prefix="\n".join([*above, line]),
        suffix="\n".join([rest, *below]),
        indent=len(line) - len(line.lstrip(" ")),
        rest_of_line=rest,
    )


class Results:
    """Answers by the text around the cursor; the least recently used is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def put(self, place: Place, text: str) -> None:
        self._known[place.prefix, place.suffix] = text
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def find(self, place: Place) -> str | None:
        """What is left of an answer for here or for a little before; None if there is none."""
        exact = self._known.get((place.prefix, place.suffix))
        if exact is not None:
            return exact
        best = None
        for typed in range(1, min(FOLLOWED, len(place.prefix)) + 1):
            text = self._known.get((place.prefix[:-typed], place.suffix))
            if text is not None and text.startswith(place.prefix[-typed:]):
                rest = text[typed:]
                if rest and (best is None or len(rest) > len(best)):
                    best = rest
        return best


class Peer:
    """What the clients have in common: the server, what is remembered, and the counts."""

    name = ""

    def __init__(self, server: LlamaServer) -> None:
        self.server = server
        self.on_answer: Callable[[int, str], None] = lambda _revision, _text: None
        #: Tokens of all answers, and of all prompts that were not in the cache.
        self.generated = 0
        self.prefilled = 0
        self.requests = 0
        self._results = Results()
        self._tasks: set[asyncio.Task[None]] = set()
        self._document = Document("", "")

    async def open(self, document: Document) -> None:
        """Compute the prompt; its tokens don't count."""
        self._results = Results()
        self._document = document
        body = self._body(place_of(document), 1000) | {"n_predict": 1}
        await asyncio.wait_for(self.server.post("/completion", body), PATIENCE_S)
        self.generated = self.prefilled = self.requests = 0

    async def rest(self) -> None:
        """Let what runs end."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=PATIENCE_S)

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _body(self, place: Place, predict_ms: int) -> dict[str, Any]:
        """The plug-ins' request."""
        return {
            "prompt": place.prefix,
            "n_predict": PREDICT,
            "n_indent": place.indent,
            "top_k": 40,
            "top_p": 0.9,
            "samplers": ["top_k", "top_p", "infill"],
            "stream": False,
            "cache_prompt": True,
            "t_max_prompt_ms": 500,
            "t_max_predict_ms": predict_ms,
        }

    async def _ask(self, place: Place, predict_ms: int) -> str:
        """One answer, counted and remembered."""
        answer = await self.server.post("/completion", self._body(place, predict_ms))
        self.requests += 1
        self.generated += answer["timings"]["predicted_n"]
        self.prefilled += answer["timings"]["prompt_n"]
        text = str(answer["content"]).rstrip("\n")
        self._results.put(place, text)
        return text


class LlamaVim(Peer):
    """See the module."""

    name = "llama.vim"

    def __init__(self, server: LlamaServer) -> None:
        super().__init__(server)
        self._running = False
        self._timer: asyncio.TimerHandle | None = None

    def key(self, document: Document, _stroke: Stroke) -> None:
        """The cursor moved."""
        self._document = document
        self._show()
        self._complete(None)

    async def rest(self) -> None:
        """Leave insert mode."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await super().rest()

    def _show(self) -> None:
        """What is remembered for here becomes visible; then the next is computed ahead."""
        document = self._document
        text = self._results.find(place_of(document))
        if text is None:
            return
        self.on_answer(document.revision, text)
        if text:
            self._complete(_accepted(document, text))

    def _complete(self, ahead: Place | None) -> None:
        """Ask for the cursor, or for `ahead`; later if a request runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(0.1, self._complete, ahead)
            return
        place = ahead or place_of(self._document)
        if len(place.rest_of_line) > LINE_SUFFIX:
            self.on_answer(self._document.revision, "")
        elif self._results.find(place) is None:
            self._running = True
            self._spawn(self._request(place, 250 if ahead is None else 1000))

    async def _request(self, place: Place, predict_ms: int) -> None:
        try:
            await self._ask(place, predict_ms)
        finally:
            self._running = False
        if place == place_of(self._document) or predict_ms == 250:
            self._show()


class LlamaVscode(Peer):
    """See the module."""

    name = "llama.vscode"

    def __init__(self, server: LlamaServer) -> None:
        super().__init__(server)
        self._running = False
        self._newest = 0

    def key(self, document: Document, _stroke: Stroke) -> None:
        """VS Code asks at every change and gives up what it asked before."""
        self._document = document
        self._newest = document.revision
        self._spawn(self._provide(document.revision))

    async def rest(self) -> None:
        """Nobody waits any more."""
        self._newest = -1
        await super().rest()

    async def _provide(self, revision: int) -> None:
        while self._running:
            await asyncio.sleep(0.15)
            if revision != self._newest:
                return
        document = self._document
        place = place_of(document)
        if len(place.rest_of_line) > LINE_SUFFIX:
            self.on_answer(revision, "")
            return
        text = self._results.find(place)
        if text is None:
            self._running = True
            try:
                text = await self._ask(place, 500)
            finally:
                self._running = False
        if revision != self._newest:
            return
        self.on_answer(revision, text)
        if text and not place.rest_of_line.strip():
            ahead = _accepted(document, text)
            if self._results.find(ahead) is None:
                await self._ask(ahead, 500)


class Fifo(Peer):
    """See the module."""

    name = "fifo"

    DEBOUNCE_S = 0.35

    def __init__(self, server: LlamaServer) -> None:
        super().__init__(server)
        self._task: asyncio.Task[None] | None = None

    def key(self, document: Document, _stroke: Stroke) -> None:
        """Every key begins the wait anew."""
        self._document = document
        self._give_up()
        text = self._results.find(place_of(document))
        if text is not None:
            self.on_answer(document.revision, text)
        else:
            self._task = self._spawn(self._provide(document.revision, place_of(document)))

    async def rest(self) -> None:
        """Close the connection."""
        self._give_up()
        await super().rest()

    def _give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _provide(self, revision: int, place: Place) -> None:
        await asyncio.sleep(self.DEBOUNCE_S)
        body = self._body(place, 1000) | {"stop": ["\n"], "return_progress": True}
        text = ""
        self.requests += 1
        async for chunk in self.server.stream("/completion", body):
            # A chunk a token, so that what is given up is counted, too.
            self.generated += bool(chunk["content"])
            text += chunk["content"]
            self.prefilled += chunk.get("timings", {}).get("prompt_n", 0) if chunk["stop"] else 0
        self._results.put(place, text)
        self.on_answer(revision, text)


def _accepted(document: Document, text: str) -> Place:
    """The cursor's surroundings once a suggestion is accepted."""
    before = document.before
    line = before.rpartition("\n")[2]
    if not line.strip():
        # What was sent began at the beginning of the line, and so does the answer.
        before = before[: len(before) - len(line)]
    return place_of(Document(document.language, before + text + document.after, len(before + text)))
