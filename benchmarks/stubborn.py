"""fastlsm with its threads, whatever they lose."""

from contextlib import ExitStack
from unittest import mock

import fastlsm


class _NoBackoff:
    def holds(self):
        return False

    def note(self, lost):
        pass


def stubborn(*packages):
    """A context in which each call of fastlsm, or of the packages given, has the threads that it asks for."""
    stack = ExitStack()
    for package in packages or (fastlsm,):
        threads = getattr(package, "_threads", None)
        if hasattr(threads, "_backoff"):  # an older commit may have none
            stack.enter_context(mock.patch.object(threads, "_backoff", _NoBackoff()))
    return stack
