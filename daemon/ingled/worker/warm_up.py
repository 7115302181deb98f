"""A first job that nobody asked for, while the model is still loading.

Kernels are loaded and buffers touched before anybody waits for them, and the engine's rates are
known: what the first completion of a document can afford need not be guessed.
"""

from __future__ import annotations

from ingled.engines.engine import Engine, Failed, Finished, Job

from .rates import Rates

#: Enough to measure a small CPU by, in a third of a second.
PROMPT_TOKENS = 64
ANSWER_TOKENS = 4
#: It is left to itself after so many waits of `WAIT_S` seconds.
WAITS = 50
WAIT_S = 0.2
#: Of no broker's job.
JOB = 0
_TEXT = "def add(first, second):\n    return first + second\n\n\n" * 8


def warm_up(engine: Engine) -> Rates:
    """Run it; the rates are 0 if it did not come to an end."""
    rates = Rates()
    prompt = engine.tokenizer.encode(_TEXT)[:PROMPT_TOKENS]
    engine.submit(Job(id=JOB, prompt=prompt, max_tokens=ANSWER_TOKENS))
    for _ in range(WAITS):
        for event in engine.step(WAIT_S):
            if isinstance(event, Finished):
                rates.measure(event)
            if isinstance(event, Finished | Failed):
                return rates
    engine.cancel(JOB)
    return rates
