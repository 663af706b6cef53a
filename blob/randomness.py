"""Every random choice derives from (seed, stream, index), never from a global generator, so that it can be made again."""

import zlib

import numpy as np

_seed: int | None = None


def set_seed(seed: int) -> None:
    """The seed of nets made from now on."""
    global _seed
    _seed = int(seed)


def current_seed() -> int:
    """The seed that was set; where none was, a fresh one from the operating system at each call."""
    return _seed if _seed is not None else int(np.random.SeedSequence().generate_state(1)[0])


def generator(seed: int, stream: str, index: int = 0) -> np.random.Generator:
    """The generator of one choice: `stream` names who draws (a layer, a parameter), `index` which of its draws it is."""
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed % 2**64, zlib.crc32(stream.encode()), index]))
    )


def number(seed: int, stream: str, index: int) -> int:
    """64 bits from (seed, stream, index), for kernels that draw by themselves."""
    return int(
        np.random.SeedSequence([seed % 2**64, zlib.crc32(stream.encode()), index]).generate_state(1, np.uint64)[0]
    )
