"""The tree of named errors; each room derives its own from one of these.

SendtideError
├── ConfigurationError      the user's file, flag or environment is wrong; says what is allowed
├── RefusedRecord           one record cannot be taken; it goes to the dead letters
├── CorruptData             bytes we wrote or fetched fail their checks; never used
├── Unavailable             a server does not answer; retried, nothing is lost meanwhile
└── Fenced                  another owner has taken over; this one must stop writing
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "CorruptData",
    "Fenced",
    "RefusedRecord",
    "SendtideError",
    "Unavailable",
]


class SendtideError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(SendtideError):
    """A file, flag or environment variable is wrong; the message says what is allowed."""


class RefusedRecord(SendtideError):  # noqa: N818 - named after what it is, not after its kind
    """One record cannot be taken; it is parked in the dead letters with this reason."""


class CorruptData(SendtideError):  # noqa: N818
    """Stored or received bytes fail their checks; they are never used."""


class Unavailable(SendtideError):  # noqa: N818
    """A server does not answer; the caller keeps its position and tries again."""


class Fenced(SendtideError):  # noqa: N818
    """A newer owner holds this partition; the caller must stop writing at once."""
