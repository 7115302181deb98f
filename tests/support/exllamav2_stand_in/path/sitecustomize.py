"""Python imports this at its start: PYTHONPATH with this folder brings in the stand-in."""

import cpu_device

cpu_device.install()
