"""The byte encoder, slow enough to be killed in the middle."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tests.data.byte_encoder import BYTES, byte_encoder


def slow_encoder() -> Callable[[list[str]], list[np.ndarray]]:
    encode = byte_encoder()

    def slowly(texts: list[str]) -> list[np.ndarray]:
        time.sleep(0.1)
        return encode(texts)

    return slowly


SLOW = replace(BYTES, encoder=slow_encoder)
