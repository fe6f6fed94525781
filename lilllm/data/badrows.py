"""What happens to a row that cannot be read: it is named, then refused or counted."""

from collections.abc import Callable
from typing import Literal

from lilllm.errors import DataError

Policy = Literal["refuse", "skip"]
OnBadRow = Callable[[str, str], None]
"""Called with where the row is and what is wrong with it; may raise."""

KEY = "data.on_bad_row"
"""The key of the config that decides, where no other is named."""


class BadRows:
    """Refuses or counts rows that cannot be read.

    Args:
        policy: refuse or skip.
        key: of the config, where `policy` was said; for the hint of the error.

    Attributes:
        skipped: rows left out so far.
        first: where the first of them was and what was wrong with it.
        passed_over: rows of feedback that are of another use, with nothing wrong in them.
    """

    def __init__(self, policy: Policy, key: str = KEY) -> None:
        self.policy = policy
        self.key = key
        self.skipped = 0
        self.first = ""
        self.passed_over = 0

    def __call__(self, where: str, reason: str) -> None:
        """Count a row.

        Raises:
            DataError: rows that cannot be read are refused.
        """
        if self.policy == "refuse":
            raise DataError(f"{where}: {reason}", f"fix it, or skip such rows with {self.key}=skip")
        self.skipped += 1
        self.first = self.first or f"{where}: {reason}"


def handler(on_bad_row: Policy | OnBadRow) -> OnBadRow:
    """A callable from a policy's name, or the callable itself."""
    return on_bad_row if callable(on_bad_row) else BadRows(on_bad_row)
