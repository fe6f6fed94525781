"""Characters that need care when a second engine splits text: found fast in whole batches.

The regular expressions of tiktoken and `tokenizers` follow their own versions of Unicode. They
agree on letters, numbers and spaces that are older than all of them; a test walks every code
point.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

UNCERTAIN = 1
"""Not assigned in this Python's Unicode, so engines may class it differently."""
WIDE_SPACE = 2
"""White space beyond ASCII."""
_BEYOND_PLANE_0 = 4

_WIDE_SPACES = (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)


def kinds_in(text: str) -> int:
    """Which of UNCERTAIN and WIDE_SPACE occur in a text, as flags."""
    if text.isascii():
        return 0
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    flags = int(np.bitwise_or.reduce(_table()[np.minimum(codes, 0xFFFF)]))
    if flags & _BEYOND_PLANE_0 and any(is_uncertain(c) for c in set(text) if c > "\uffff"):
        flags |= UNCERTAIN
    return flags & ~_BEYOND_PLANE_0


def is_uncertain(char: str) -> bool:
    """Whether engines may class a character differently; lone surrogates count as well."""
    return unicodedata.category(char) in ("Cn", "Cs")


@cache
def _table() -> NDArray[np.uint8]:
    """Flags of the characters of plane 0; its last entry, no character, stands for the others."""
    table = np.fromiter((is_uncertain(chr(code)) for code in range(0x10000)), np.uint8, 0x10000)
    table[list(_WIDE_SPACES)] |= WIDE_SPACE
    table[0xFFFF] |= _BEYOND_PLANE_0
    table[0xFFFF] &= ~np.uint8(UNCERTAIN)
    return table
