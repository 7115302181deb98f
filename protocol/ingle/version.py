"""The one place that knows the versions: the package's and the wire protocol's."""

__version__ = "0.1.0"

#: Version of the wire protocol (`protocol/SPEC.md`). It is the last byte of the preamble.
PROTOCOL_VERSION = 1
