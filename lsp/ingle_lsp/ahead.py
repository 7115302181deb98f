"""What will probably be asked for next, so that it can be computed while nobody waits. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ingle.results import Completion

from .question import Question
from .typed_through import Known

#: More likely than not.
LIKELY = 0.5


def odds(completion: Completion) -> float:
    """How likely it is that a completion is right to its end; 0 if nobody knows."""
    if completion.confidence is None or completion.usage is None:
        return 0.0
    return completion.confidence**completion.usage.completion_tokens


def following(
    question: Question, known: Known, find: Callable[[Question], Known | None]
) -> Question | None:
    """The question that is worth a guess once `known` is the answer to `question`, if one is.

    Once a line is whole, or will more likely than not become what is shown, that is the next line;
    or what comes after whatever is shown, where the user wants it so. What `find` knows already is
    not worth it.
    """
    prefetch = question.settings.prefetch
    if prefetch == "never":
        return None
    guess: Question | None = None
    if known.over:
        guess = question.next_line()
    elif known.texts and (known.odds > LIKELY or prefetch == "always"):
        guess = question.after(known.texts[0])
        then = find(guess)
        if then is not None and then.over:
            guess = guess.next_line()
    is_worth_it = guess is not None and guess.is_wanted and find(guess) is None
    return guess if is_worth_it else None
