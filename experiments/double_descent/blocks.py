"""Products and factorisations of tall matrices, a block of rows at a time.

Tasks run side by side in threads, and the threads that BLAS starts for a large matrix get in their
way: a task then takes twenty times as long. Small ones it handles in the thread that asks.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Multiplications of a matrix product up to which OpenBLAS starts no threads.
ALONE = 2**18
# Rows of a matrix that is factorised at once.
ROWS = 128


def _in_blocks(matrices: Floats, rows: int) -> Floats:
    """Cut matrices [..., p, n] into blocks [..., B, rows, n], the last one filled up by zeros."""
    *leading, height, n = matrices.shape
    blocks = -(-height // rows)
    padding = [(0, 0)] * len(leading) + [(0, blocks * rows - height), (0, 0)]
    return np.pad(matrices, padding).reshape(*leading, blocks, rows, n)


def times(tall: Floats, small: Floats) -> Floats:
    """Multiply tall matrices [..., p, n] by small ones [..., n, m]."""
    rows = max(1, ALONE // (small.shape[-1] * small.shape[-2]))
    product = _in_blocks(tall, rows) @ small[..., None, :, :]
    return product.reshape(*product.shape[:-3], -1, small.shape[-1])[..., : tall.shape[-2], :]


def inner(left: Floats, right: Floats) -> Floats:
    """Multiply the transposes of tall matrices [..., p, m] by others [..., p, n]."""
    rows = max(1, ALONE // (left.shape[-1] * right.shape[-1]))
    blocks = np.swapaxes(_in_blocks(left, rows), -1, -2) @ _in_blocks(right, rows)
    return np.asarray(blocks.sum(axis=-3))


def thin_qr(matrices: Floats) -> tuple[Floats, Floats]:
    """Factorise tall matrices [D, p, n] into orthonormal columns [D, p, n] and triangles [D, n, n].

    Blocks of rows are factorised first, and then their triangles.
    """
    number, height, n = matrices.shape
    rows = max(ROWS, 2 * n)
    if height <= rows:
        basis, triangle = np.linalg.qr(matrices)
        return basis, triangle
    bases, triangles = np.linalg.qr(_in_blocks(matrices, rows))
    outer, triangle = thin_qr(triangles.reshape(number, -1, n))
    basis = bases @ outer.reshape(number, -1, n, n)
    return basis.reshape(number, -1, n)[:, :height], triangle
