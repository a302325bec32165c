"""Longformer's local, dilated and global attention as a stream: a ring of pairs and the first ones.

I know nothing of models. The ring stands newest first; how many of its places are taken is a number of the state, so
what lies in the others does not matter.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recurrent_core.errors import ConfigError
from recurrent_core.feature_maps import scale_query
from recurrent_core.ops.longformer import reference
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.run import Pair, Run, log_ages, log_omega
from recurrent_core.ops.softmax.reference import softmax_or_zero


class Longformer(Recurrence):
    """Softmax over the pairs 0, dilation, 2 dilation ... writes back, `window` of them, and the first num_global pairs.

    In the source global tokens are chosen by the task and look both ways; in a stream they are the first ones, which
    every later reading sees.
    """

    name = "longformer"
    source = "Beltagy et al. 2020, arXiv:2004.05150"
    why_not_across = "a window has no meaning among pairs without an order; use softmax or entropy_equality across them"

    def __init__(self, d_k: int, d_v: int, window: int = 16, dilation: int = 2, num_global: int = 2) -> None:
        """Args: window, pairs seen; dilation, writes from one to the next; num_global, first pairs seen for ever."""
        super().__init__(d_k, d_v)
        if window < 1 or dilation < 1 or num_global < 0:
            raise ConfigError(
                f"{self.name} of window {window}, dilation {dilation} and {num_global} global pairs; "
                "wanted window and dilation of at least 1, and no negative number of global pairs"
            )
        self.window, self.dilation, self.num_global = window, dilation, num_global
        self.ring = (window - 1) * dilation + 1

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        first = {
            "first_keys": (self.num_global, self.d_k),
            "first_values": (self.num_global, self.d_v),
            "first_log_weights": (self.num_global,),
        }
        return {
            "num_written": (),
            "keys": (self.ring, self.d_k),
            "values": (self.ring, self.d_v),
            "log_weights": (self.ring,),
            **(first if self.num_global else {}),
        }

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        run = Run(
            pair.k.unsqueeze(-2),
            pair.v.unsqueeze(-2),
            pair.log_decay.unsqueeze(-1),
            pair.omega.unsqueeze(-1),
            pair.is_written.unsqueeze(-1),
        )
        return self._after(run, state)

    def read(self, q: Tensor, state: State) -> Tensor:
        nobody = q.new_zeros(*q.shape[:-1], dtype=torch.long)
        logits, values = self._looking_back(scale_query(q), nobody, nobody.to(q.dtype), state)
        return softmax_or_zero(logits) @ values

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        u = scale_query(q)
        since, ages = log_ages(run.log_decay)
        num_new = run.is_written.long().cumsum(-1)
        back = num_new.unsqueeze(-1) - num_new.unsqueeze(-2)
        is_first = (state["num_written"].long().unsqueeze(-1) + num_new <= self.num_global).unsqueeze(-2)
        is_near = (back < self.ring) & (back % self.dilation == 0)
        bias = ages.to(q.dtype) + log_omega(run).unsqueeze(-2)
        within = (u @ run.k.mT + bias).masked_fill(~(is_near | is_first), -torch.inf)
        before, values = self._looking_back(u, num_new, since.to(q.dtype), state)
        shares = softmax_or_zero(torch.cat([before, within], dim=-1))
        return shares @ torch.cat([values, run.v], dim=-2), self._after(run, state)

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run, self.window, self.dilation, self.num_global)

    def _looking_back(self, u: Tensor, num_new: Tensor, age: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Logits of queries [..., n, d_k] to the state's pairs, [..., n, places], and these pairs' values.

        Args:
            num_new: [..., n], pairs written since the state. age: [..., n], log decay since.
        """
        keys, values, log_weights, is_taken = self._taken(state)
        place = torch.arange(self.ring, device=u.device)
        back = num_new.unsqueeze(-1) + place
        is_seen = (back < self.ring) & (back % self.dilation == 0)
        always = is_seen.new_ones(*is_seen.shape[:-1], self.num_global)
        is_seen = torch.cat([is_seen, always], dim=-1) & is_taken.unsqueeze(-2)
        logits = u @ keys.mT + log_weights.unsqueeze(-2) + age.unsqueeze(-1)
        return logits.masked_fill(~is_seen, -torch.inf), values

    def _taken(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The ring's pairs and the first ones, zeros where there is none, and where there is: keys, values, weights."""
        num_written = state["num_written"].unsqueeze(-1)
        place = torch.arange(self.ring, device=num_written.device)
        is_taken = (place < num_written) & (num_written - 1 - place >= self.num_global)
        fields = [state["keys"], state["values"], state["log_weights"].unsqueeze(-1)]
        if self.num_global:
            first = torch.arange(self.num_global, device=num_written.device) < num_written
            is_taken = torch.cat([is_taken, first], dim=-1)
            others = [state["first_keys"], state["first_values"], state["first_log_weights"].unsqueeze(-1)]
            fields = [torch.cat(both, dim=-2) for both in zip(fields, others, strict=True)]
        keys, values, weights = (
            torch.where(is_taken.unsqueeze(-1), field, torch.zeros_like(field)) for field in fields
        )
        return keys, values, weights.squeeze(-1), is_taken

    def _after(self, run: Run, state: State) -> State:
        """The state once a short run is written."""
        since = run.log_decay.double().cumsum(-1)
        log_weight = (since[..., -1:] - since).to(run.v.dtype) + torch.where(run.is_written, log_omega(run), 0.0)
        pairs = (run.k, run.v, log_weight.unsqueeze(-1))
        num_new = run.is_written.long().cumsum(-1)
        old = state["num_written"].long().unsqueeze(-1)
        aged = since[..., -1:].to(run.v.dtype)
        ring = (state["keys"], state["values"], (state["log_weights"] + aged).unsqueeze(-1))
        place = torch.arange(self.ring, device=run.v.device).expand(*old.shape[:-1], self.ring)
        to = torch.cat([place + num_new[..., -1:], num_new[..., -1:] - num_new], dim=-1)
        is_kept = torch.cat([place < old, run.is_written], dim=-1) & (to < self.ring)
        keys, values, weights = (
            _placed(torch.cat(both, dim=-2), to, is_kept, self.ring) for both in zip(ring, pairs, strict=True)
        )
        most = self.ring + self.num_global
        after = {
            "num_written": (old + num_new[..., -1:]).clamp(max=most).squeeze(-1).to(run.v.dtype),
            "keys": keys,
            "values": values,
            "log_weights": weights.squeeze(-1),
        }
        return {**after, **self._first_after(pairs, old, num_new, aged, run.is_written, state)}

    def _first_after(
        self, pairs: tuple[Tensor, ...], old: Tensor, num_new: Tensor, aged: Tensor, is_written: Tensor, state: State
    ) -> State:
        """The first pairs, joined by those of the run that belong to them."""
        if not self.num_global:
            return {}
        first = (state["first_keys"], state["first_values"], (state["first_log_weights"] + aged).unsqueeze(-1))
        place = torch.arange(self.num_global, device=old.device).expand(*old.shape[:-1], self.num_global)
        to = torch.cat([place, old + num_new - 1], dim=-1)
        is_kept = torch.cat([place < old, is_written], dim=-1) & (to < self.num_global)
        keys, values, weights = (
            _placed(torch.cat(both, dim=-2), to, is_kept, self.num_global) for both in zip(first, pairs, strict=True)
        )
        return {"first_keys": keys, "first_values": values, "first_log_weights": weights.squeeze(-1)}


class SoftmaxWindow(Longformer):
    """Softmax over the last `window` pairs: Longformer without gaps and without first pairs."""

    name = "softmax_window"
    source = "Beltagy et al. 2020, arXiv:2004.05150, sliding window alone"

    def __init__(self, d_k: int, d_v: int, window: int = 32) -> None:
        """Args: window, the pairs kept."""
        super().__init__(d_k, d_v, window=window, dilation=1, num_global=0)


def _placed(entries: Tensor, to: Tensor, is_kept: Tensor, size: int) -> Tensor:
    """Entries [..., n, d] put to their places among `size`, zeros elsewhere; the places of those kept are distinct."""
    index = torch.where(is_kept, to, torch.full_like(to, size)).unsqueeze(-1).expand(entries.shape)
    kept = torch.where(is_kept.unsqueeze(-1), entries, torch.zeros_like(entries))
    empty = entries.new_zeros(*entries.shape[:-2], size + 1, entries.shape[-1])
    return empty.scatter(-2, index, kept)[..., :size, :]
