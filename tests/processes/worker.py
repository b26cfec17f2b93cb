"""A child's program: one of several workers on one journal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .child import Line


def live(order: Mapping[str, Any], line: "Line") -> None:
    """Not yet."""
