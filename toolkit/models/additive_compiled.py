"""The energies of additive attention in compiled code: what a search on a CPU spends its time on.

Nothing of the size (frames, attention space) is stored, which is what torch's operations have to do between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.compiled import compiled

Floats = NDArray[np.float32]

CHANNELS = 4  # added at a time: with one, half of the work is to load and to store the sums

# From here on, tanh(x) is 1 to the precision of float32.
SATURATED = np.float32(7.905)


@compiled(fastmath={"reassoc", "contract", "nsz", "arcp"})
def energies_of(keys: Floats, queries: Floats, location: Floats, weight: Floats, energy: Floats) -> Floats:
    """``energy . tanh(keys + queries + weight location)`` as (N, T).

    Parameters
    ----------
    keys : (A, T, D)
    queries : (N, D)
    location : (N, T, C)
        C is a multiple of `CHANNELS`, where need be with zeros.
    weight : (C, D)
    energy : (D,)
    """
    (N, T, C), (A, _, D) = location.shape, keys.shape
    energies, sums = np.empty((N, T), np.float32), np.empty(D, np.float32)
    for n in range(N):
        a = n * A // N
        for t in range(T):
            for d in range(D):
                sums[d] = keys[a, t, d] + queries[n, d]
            for c in range(0, C, CHANNELS):
                l0, l1, l2, l3 = location[n, t, c], location[n, t, c + 1], location[n, t, c + 2], location[n, t, c + 3]
                for d in range(D):
                    sums[d] += l0 * weight[c, d] + l1 * weight[c + 1, d] + l2 * weight[c + 2, d] + l3 * weight[c + 3, d]
            total = np.float32(0.0)
            for d in range(D):
                total += energy[d] * _tanh(sums[d])
            energies[n, t] = total
    return energies


@compiled(forceinline=True, fastmath={"reassoc", "contract", "nsz", "arcp"})
def _tanh(x: np.float32) -> np.float32:
    """Within 3e-7 of tanh: the rational function that Eigen has for it, of x^2 and up to x^13 over x^6."""
    x = min(max(x, -SATURATED), SATURATED)
    y = x * x
    above = np.float32(-2.76076847742355e-16)
    above = above * y + np.float32(2.00018790482477e-13)
    above = above * y + np.float32(-8.60467152213735e-11)
    above = above * y + np.float32(5.12229709037114e-08)
    above = above * y + np.float32(1.48572235717979e-05)
    above = above * y + np.float32(6.37261928875436e-04)
    above = above * y + np.float32(4.89352455891786e-03)
    below = np.float32(1.19825839466702e-06)
    below = below * y + np.float32(1.18534705686654e-04)
    below = below * y + np.float32(2.26843463243900e-03)
    below = below * y + np.float32(4.89352518554385e-03)
    return x * above / below
