"""`python -m ingled`: the daemon in the foreground."""

from .daemon import main

main()
