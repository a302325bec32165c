"""Entropy equality and its ridge read-out as rules among others: the moments under names.

I know nothing of the mathematics: `step` and `chunk` beside me do.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import ClassVar

from torch import Tensor

from recurrent_core.errors import ConfigError
from recurrent_core.feature_maps import scale_query
from recurrent_core.ops.entropy_equality import chunk, compiled, reference
from recurrent_core.ops.entropy_equality.moments import Moments
from recurrent_core.ops.entropy_equality.step import decay, read_affine, read_ridge, relative_ridge, write
from recurrent_core.ops.mechanism import Recurrence, State, cast_run
from recurrent_core.ops.run import Pair, Run


class _OfMoments(Recurrence):
    """A rule whose state are decayed means and covariances of keys and values."""

    is_diagonal: ClassVar[bool]

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return {
            "mass": (),
            "nu": (),
            "key_mean": (self.d_k,),
            "value_mean": (self.d_v,),
            "key_cov": (self.d_k,) if self.is_diagonal else (self.d_k, self.d_k),
            "cross_cov": (self.d_k, self.d_v),
        }

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        moments = write(decay(Moments(**state), pair.log_decay), pair.k, pair.v, pair.omega, pair.is_written)
        return _named(moments)

    def read(self, q: Tensor, state: State) -> Tensor:
        return self._read(q, Moments(**state))

    @abstractmethod
    def _read(self, q: Tensor, moments: Moments) -> Tensor:
        """What queries [..., n, d_k] read of the moments."""


class EntropyEquality(_OfMoments):
    """Weights affine in the logits, as spread out as softmax's.

    o = vbar + C_kv'u / sqrt(1 + u'C_kk u / rho2),  u = q / sqrt(d_k);  of C_kk the diagonal is kept.
    """

    name = "entropy_equality"
    source = "after arXiv:2511.03190; slope, recurrence and chunk form ours (ops/entropy_equality/README.md)"
    is_diagonal = True

    def __init__(self, d_k: int, d_v: int, rho2: float = 2.0) -> None:
        """Args: rho2, > 0, cap of the slope; 2 is Shannon's entropy."""
        super().__init__(d_k, d_v)
        if not rho2 > 0:
            raise ConfigError(f"entropy_equality with rho2 = {rho2}; wanted above 0, 2 for Shannon's entropy")
        self.rho2 = rho2

    def _read(self, q: Tensor, moments: Moments) -> Tensor:
        return read_affine(moments, scale_query(q), self.rho2)

    def chunk(self, q: Tensor, run: Run, state: State, chunk_size: int | None = None) -> tuple[Tensor, State]:
        """As every rule's; on a CPU, where no chunk_size is asked for, by compiled loops."""
        if chunk_size or q.device.type != "cpu":
            return super().chunk(q, run, state, chunk_size)
        self.check(q, run)
        moments = Moments(**state)
        run = cast_run(run.masked(), moments.mass.dtype)
        output, end = compiled.attend(scale_query(q.to(moments.mass.dtype)), run, moments, self.rho2)
        return output, _named(end)

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        size = run.num_readings
        output, end = chunk.attend_affine(scale_query(q), run, Moments(**state), self.rho2, chunk_size=size)
        return output, _named(end)

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend_affine(scale_query(q), run, self.rho2, is_diagonal=True)


class Ridge(_OfMoments):
    """The same moments read as a ridge regression of values on keys: o = vbar + C_kv'(C_kk + r I)^-1 (q - kbar)."""

    name = "ridge"
    source = "von Oswald et al. 2023, arXiv:2309.05858 (mesa layer); normalised, decayed form ours"
    is_diagonal = False
    chunk_size = 16

    def __init__(self, d_k: int, d_v: int, r0: float = 0.03) -> None:
        """Args: r0, > 0, the ridge as a share of the keys' mean variance; at least 0.01 in float32."""
        super().__init__(d_k, d_v)
        if not r0 > 0:
            raise ConfigError(f"ridge with r0 = {r0}; wanted above 0, at least 0.01 in float32")
        self.r0 = r0

    def _read(self, q: Tensor, moments: Moments) -> Tensor:
        return read_ridge(moments, q, self._strength(moments))

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        size = run.num_readings
        output, end = chunk.attend_ridge(q, run, Moments(**state), self._strength, chunk_size=size)
        return output, _named(end)

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend_ridge(q, run, self.r0)

    def _strength(self, moments: Moments) -> Tensor:
        return relative_ridge(moments, self.r0)


def _named(moments: Moments) -> State:
    return {field.name: getattr(moments, field.name) for field in fields(moments)}
