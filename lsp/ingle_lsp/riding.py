"""Whether a request that the editor gave up is still worth its computing. Pure.

Editors cancel a completion at the next key and ask again a moment later. If that key is what is
being generated anyway, the daemon lets the newer request ride along on the running generation
(protocol/SPEC.md, §4.5), provided that it still runs.
"""

from __future__ import annotations

#: Characters after the cursor by which its old place is recognized.
_MARK = 80


def agrees(after: str, generated: str, suffix: str) -> bool:
    """Whether what was typed at a place is a beginning of what is generated for it, or goes on
    from that.

    `after`: what stands behind the place now; `suffix`: what stood there when it was asked for.
    """
    mark = suffix[:_MARK]
    for typed in range(len(after) + 1):
        text = after[:typed]
        if not (generated.startswith(text) or text.startswith(generated)):
            return False
        # Nothing typed is no riding along: somebody did not want it.
        if typed and after[typed : typed + _MARK] == mark:
            return True
    return False
