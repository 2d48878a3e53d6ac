import hashlib

import pytest

from knarr.storage.hashing import Sha256


@pytest.mark.parametrize("sizes", [[], [1], [1 << 20], [5, 1 << 20, 7, 1 << 19, 1 << 20]])
def test_pieces_are_hashed_in_their_order(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    ours = Sha256()
    for piece in pieces:
        ours.update(piece)
    assert ours.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_a_digest_of_what_has_come_so_far() -> None:
    ours = Sha256()
    ours.update(b"x" * (1 << 20))
    assert ours.hexdigest() == hashlib.sha256(b"x" * (1 << 20)).hexdigest()
    ours.update(b"y")
    assert ours.hexdigest() == hashlib.sha256(b"x" * (1 << 20) + b"y").hexdigest()
