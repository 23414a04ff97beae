"""Keccak-256 as Ethereum uses it: hashlib knows only the padding that NIST chose later."""

_ROTATIONS = (
    (0, 36, 3, 41, 18), (1, 44, 10, 45, 2), (62, 6, 43, 15, 61), (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)  # fmt: skip
_MASK = (1 << 64) - 1
_RATE_BYTES = 136


def keccak256(message: bytes) -> bytes:
    """32 bytes. Source: Bertoni et al. 2011 (the Keccak reference), padding 0x01."""
    padding = -len(message) % _RATE_BYTES or _RATE_BYTES
    padded = bytearray(message + bytes(padding))
    padded[len(message)] ^= 0x01
    padded[-1] ^= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), _RATE_BYTES):
        for place in range(_RATE_BYTES // 8):
            word = int.from_bytes(padded[start + 8 * place : start + 8 * place + 8], "little")
            lanes[place % 5][place // 5] ^= word
        lanes = _permuted(lanes)
    return b"".join(lanes[place % 5][place // 5].to_bytes(8, "little") for place in range(4))


def _permuted(lanes: list[list[int]]) -> list[list[int]]:
    register = 1
    for _ in range(24):
        sums = [a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] for a in lanes]
        mixed = [sums[(x + 4) % 5] ^ _rotated(sums[(x + 1) % 5], 1) for x in range(5)]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                moved[y][(2 * x + 3 * y) % 5] = _rotated(lanes[x][y] ^ mixed[x], _ROTATIONS[x][y])
        lanes = [
            [moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y]) for y in range(5)]
            for x in range(5)
        ]
        for place in range(7):  # the round constant comes from a linear feedback register
            if register & 1:
                lanes[0][0] ^= 1 << ((1 << place) - 1)
            register = (register << 1) ^ (0x171 if register >> 7 else 0)
    return lanes


def _rotated(word: int, places: int) -> int:
    return ((word << places) | (word >> (64 - places))) & _MASK
