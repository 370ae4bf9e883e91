"""What a rival makes of a problem, and the reasons for which it may not."""

from collections.abc import Callable
from typing import NamedTuple


class Prepared(NamedTuple):
    call: Callable  # computes the result once
    result: Callable | None  # the last call's result as an array of the view's shape; None: not to be checked
    scratch: int = 0  # bytes allocated beforehand, besides operands and result


class NotApplicable(Exception):
    """There is no such variant for this cell."""


class Unsupported(Exception):
    """The rival cannot do this cell."""
