"""fastlsm with its threads, whatever they lose."""

from unittest import mock

from fastlsm import _threads


class _NoBackoff:
    def holds(self):
        return False

    def note(self, lost):
        pass


def stubborn():
    """A context in which each call has the threads that it asks for."""
    return mock.patch.object(_threads, "_backoff", _NoBackoff())
