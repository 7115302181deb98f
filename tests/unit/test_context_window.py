"""The window policy: what is kept, what moves, and that typing hits the prefix cache."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingle.errors import ContextOverflow
from ingled.dialects.context_window import ContextWindows, Layout, Limits, Window

LINES = "".join(f"    value_{number} = compute({number})\n" for number in range(20_000))
WIDE = Limits(uncached=100_000, prompt=4000)


class Cache:
    """An engine's prefix cache, as the policy should use it; one token is four characters."""

    def __init__(self, layout: Layout = Layout()) -> None:  # noqa: B008
        self.layout = layout
        self.windows = ContextWindows(layout)
        self.cached: list[int] = []
        self.rendered = 0

    def render(self, window: Window) -> list[int]:
        after = window.suffix
        texts = [*window.snippets]
        texts += [after, window.prefix] if self.layout.suffix_first else [window.prefix, after]
        self.rendered = max(self.rendered, window.characters)
        return [
            hash((place, text[at : at + 4]))
            for place, text in enumerate(texts)
            for at in range(0, len(text), 4)
        ]

    def request(
        self,
        prefix: str,
        suffix: str = "",
        limits: Limits = WIDE,
        snippets: tuple[str, ...] = (),
        document: str = "d",
    ) -> tuple[Window, int]:
        """The window and how many of its tokens had to be computed."""
        window, ids = self.windows.fit(document, prefix, suffix, snippets, limits, self.render)
        common = 0
        while common < min(len(ids), len(self.cached)) and ids[common] == self.cached[common]:
            common += 1
        self.cached = ids
        return window, len(ids) - common


def test_a_small_document_goes_in_whole() -> None:
    window, _ = Cache().request("a\nb", "c\n")
    assert (window.start, window.prefix, window.suffix) == (0, "a\nb", "c\n")


def test_a_large_document_is_cut_at_a_line_to_the_budget() -> None:
    cache = Cache()
    window, computed = cache.request(LINES, limits=Limits(uncached=500, prompt=4000))
    assert LINES[window.start - 1] == "\n"
    assert LINES.endswith(window.prefix)
    assert 300 <= computed <= 1.25 * 500


def test_typing_computes_only_what_was_typed() -> None:
    cache = Cache()
    limits = Limits(uncached=500, prompt=4000)
    cache.request(LINES, limits=limits)
    start = cache.request(LINES, limits=limits)[0].start
    text = LINES
    for character in "    return value_1 + value_2\n" * 20:
        text += character
        window, computed = cache.request(text, limits=limits)
        assert computed <= 2
        assert window.start == start


def test_a_full_context_moves_once_and_not_at_every_key() -> None:
    cache = Cache()
    limits = Limits(uncached=100_000, prompt=1000)
    text, starts = LINES, set()
    for number in range(300):
        text += f"    more_{number}\n"
        window, _ = cache.request(text, limits=limits)
        assert len(cache.cached) <= 1000
        starts.add(window.start)
    assert 2 <= len(starts) <= 8


def test_an_edit_above_the_window_keeps_it() -> None:
    cache = Cache()
    limits = Limits(uncached=500, prompt=4000)
    cache.request(LINES, limits=limits)
    before, _ = cache.request(LINES, limits=limits)
    after, computed = cache.request("# inserted\n" + LINES + "x", limits=limits)
    assert after.prefix == before.prefix + "x"
    assert computed <= 2


def test_deleting_text_keeps_the_window() -> None:
    cache = Cache()
    limits = Limits(uncached=100, prompt=4000)
    cache.request(LINES, limits=limits)
    start = cache.request(LINES, limits=limits)[0].start
    for count in range(1, 100):
        window, computed = cache.request(LINES[:-count], limits=limits)
        assert window.start == start
        assert computed <= 2


def test_the_cursor_elsewhere_gets_a_window_there() -> None:
    cache = Cache()
    limits = Limits(uncached=500, prompt=4000)
    for cut in (600_000, 100_000, 300_000, 2000):
        prefix = LINES[:cut]
        window, computed = cache.request(prefix, limits=limits)
        assert prefix.endswith(window.prefix)
        assert len(window.prefix) > 500
        assert computed <= 600


def test_more_budget_brings_more_context_once() -> None:
    cache = Cache()
    cache.request(LINES, limits=Limits(uncached=200, prompt=4000))
    small, _ = cache.request(LINES + "x", limits=Limits(uncached=200, prompt=4000))
    large, _ = cache.request(LINES + "xy", limits=Limits(uncached=2000, prompt=4000))
    assert len(large.prefix) > 4 * len(small.prefix)
    again, computed = cache.request(LINES + "xyz", limits=Limits(uncached=200, prompt=4000))
    assert again.start == large.start
    assert computed <= 2


def test_a_budget_that_wavers_does_not_move_the_window() -> None:
    cache = Cache()
    cache.request(LINES, limits=Limits(uncached=800, prompt=4000))
    start = cache.request(LINES, limits=Limits(uncached=800, prompt=4000))[0].start
    for number in range(50):
        limits = Limits(uncached=600 + 37 * number % 700, prompt=4000)
        assert cache.request(LINES + "x" * number, limits=limits)[0].start == start


def test_a_suffix_that_comes_first_stays_while_typing() -> None:
    cache = Cache(Layout(suffix_first=True))
    limits = Limits(uncached=800, prompt=4000)
    cache.request(LINES, LINES, limits)
    first, _ = cache.request(LINES, LINES, limits)
    assert first.suffix
    assert first.suffix.endswith("\n")
    text = LINES
    for number in range(40):
        text += "y"
        changing = Limits(uncached=700 + number * 7, prompt=4000)
        window, computed = cache.request(text, LINES, changing)
        assert window.suffix == first.suffix
        assert computed <= 2


def test_a_changed_suffix_is_never_the_old_one() -> None:
    cache = Cache(Layout(suffix_first=True))
    cache.request("a\n", "old()\nrest\n")
    window, _ = cache.request("a\n", "new()\nrest\n")
    assert window.suffix == "new()\nrest\n"
    assert cache.request("a\n", "")[0].suffix == ""
    assert cache.request("a\n", "new()\n")[0].suffix == "new()\n"


def test_a_suffix_that_comes_last_takes_its_share_of_every_budget() -> None:
    cache = Cache()
    limits = Limits(uncached=400, prompt=4000)
    cache.request(LINES, LINES, limits)
    cache.request(LINES, LINES, limits)
    text = LINES
    for _ in range(20):
        text += "z"
        window, computed = cache.request(text, LINES, limits)
        assert window.suffix
        assert computed <= 400


def test_snippets_stay_until_the_window_moves() -> None:
    cache = Cache()
    first, _ = cache.request("a\n", snippets=("one\n", "two\n"))
    assert first.snippets == ("one\n", "two\n")
    kept, computed = cache.request("a\nb", snippets=("three\n",))
    assert kept.snippets == first.snippets
    assert computed <= 2


def test_snippets_that_repeat_the_document_are_dropped() -> None:
    prefix = "def area(r):\n    return 3.14 * r * r\n\n"
    window, _ = Cache().request(prefix, snippets=("def area(r):\n    return 3.14 * r * r\n", "x\n"))
    assert window.snippets == ("x\n",)


def test_snippets_take_no_more_than_their_share() -> None:
    window, _ = Cache().request(LINES, snippets=("y\n" * 100_000, "ok\n"))
    assert window.snippets == ("ok\n",)


def test_a_very_long_line_is_cut_inside() -> None:
    window, _ = Cache().request("x" * 1_000_000, limits=Limits(uncached=300, prompt=4000))
    assert 0 < len(window.prefix) < 4000


def test_five_megabytes_cost_no_more_than_the_window() -> None:
    cache = Cache()
    text = "\n".join(["some text of a line"] * 250_000)
    for _ in range(20):
        text += "x"
        cache.request(text, text, limits=Limits(uncached=500, prompt=4000))
    assert cache.rendered < 20_000


def test_a_first_estimate_that_is_far_off_is_corrected_at_once() -> None:
    windows = ContextWindows(Layout())
    _, ids = windows.fit("", LINES, "", (), Limits(uncached=600, prompt=9000), dense)
    assert 300 < len(ids) <= 600


def dense(window: Window) -> list[int]:
    return list(range(3 * window.characters))


def test_text_denser_than_thought_still_fits() -> None:
    windows = ContextWindows(Layout())
    for _ in range(3):
        window, ids = windows.fit("d", LINES, "", (), Limits(uncached=9000, prompt=900), dense)
        assert 300 < len(ids) <= 900
        assert window.prefix


@pytest.mark.parametrize("render", [dense, lambda window: list(range(500))])
def test_a_context_without_room_is_refused(render: Callable[[Window], list[int]]) -> None:
    windows = ContextWindows(Layout())
    with pytest.raises(ContextOverflow, match="larger context"):
        windows.fit("d", LINES, LINES, (), Limits(uncached=9, prompt=-5, fixed=100), render)


def test_documents_are_forgotten_from_the_oldest() -> None:
    cache = Cache()
    cache.windows = ContextWindows(Layout(), documents=3)
    limits = Limits(uncached=500, prompt=4000)
    for number in range(100):
        cache.request(LINES, limits=limits, document=f"d{number}")
    assert len(cache.windows._documents) == 3
    cache.request(LINES, limits=limits, document="")
    assert len(cache.windows._documents) == 3
