"""Sample for `make demo`: the language server completes the last line."""


def fibonacci(n):
    if n < 2:
        return n
    return fibonacci(n - 1) + 