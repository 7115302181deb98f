"""Python imports this at its start: PYTHONPATH with this folder brings in the card."""

import card_memory

card_memory.install()
