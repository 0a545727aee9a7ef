"""Bidirectional recurrent layers as Keras 2.2 and TensorFlow 2 define them, the two directions multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

GATES = ("hard_sigmoid", "sigmoid")  # of Keras 2.2 and of Keras 2.3


class BidirectionalKeras2(nn.Module):
    """What the recurrent layers of Keras 2 share: (batch, T, size) -> forward x backward output (batch, T, units).

    As in Keras 2.2: hard-sigmoid gates clip(0.2 x + 0.5, 0, 1), one bias per gate. Dropout, in training, multiplies
    input and state by masks that differ from gate to gate and from direction to direction and stay the same over time.
    Input kernels start Glorot-uniform over the fused matrix (size, gates x units), recurrent kernels orthogonal.

    Parameters are kept in Keras' own form and order of gates, with the two directions as the first dimension: kernel
    (2, size, gates x units), recurrent (2, units, gates x units), bias (2, gates x units).

    Parameters
    ----------
    size : input values per step
    units : output values per step
    dropout : probability, of input and state
    """

    gates: int
    _recurrence: type[_Recurrence]

    def __init__(self, size: int, units: int, *, dropout: float = 0.0):
        super().__init__()
        self.size, self.units, self.dropout = size, units, dropout
        self.masks = self.gates  # of dropout: one for each gate
        self.kernel = nn.Parameter(torch.empty(2, size, self.gates * units))
        self.recurrent = nn.Parameter(torch.empty(2, units, self.gates * units))
        self.bias = nn.Parameter(torch.zeros(2, self.gates * units))
        with torch.no_grad():
            for direction in range(2):
                nn.init.xavier_uniform_(self.kernel[direction])
                nn.init.orthogonal_(self.recurrent[direction])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, size) -> (batch, T, units), in the precision of the weights."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.kernel.dtype).transpose(0, 1)
            mask = None
            if self.training and self.dropout:
                mask = self._mask(x.shape[1], self.units)
                inputs = self._mask(x.shape[1], self.size)
                projected = [self._masked_projection(x, inputs[direction], direction) for direction in range(2)]
            else:
                projected = [nn.functional.linear(x, k.T, b) for k, b in zip(self.kernel, self.bias)]
            y = self._recur(projected[0], projected[1], mask)
            return (y[0] * y[1].flip(0)).transpose(0, 1)

    def _recur(self, forward: Tensor, backward: Tensor, mask: Tensor | None) -> Tensor:
        """States (2, T, batch, units) of both directions, see `_Recurrence`."""
        states: Tensor = self._recurrence.apply(forward, backward, self.recurrent, mask)
        return states

    def _mask(self, batch: int, values: int) -> Tensor:
        """Dropout masks (2, masks, batch, values)."""
        keep = 1 - self.dropout
        shape = (2, self.masks, batch, values)
        return torch.empty(shape, dtype=self.kernel.dtype, device=self.kernel.device).bernoulli_(keep).div_(keep)

    def _masked_projection(self, x: Tensor, mask: Tensor, direction: int) -> Tensor:
        """(T, batch, size), mask (masks, batch, size) -> (T, batch, gates x units)."""
        if len(mask) == 1:
            return nn.functional.linear(x * mask[0], self.kernel[direction].T, self.bias[direction])
        kernel, bias = self.kernel[direction].chunk(self.gates, dim=1), self.bias[direction].chunk(self.gates)
        parts = [nn.functional.linear(x * m, k.T, b) for m, k, b in zip(mask, kernel, bias)]
        return torch.cat(parts, dim=2)


class _Recurrence(torch.autograd.Function):
    """Base of the two recurrences: (projected inputs of both directions, recurrent kernel, masks) -> states.

    Both directions take each step together, and gradients are carried back by hand: per step only what depends on the
    step before is computed, everything else is done for all steps at once.

    Parameters of `apply`
    ---------------------
    forward, backward : projected input of the two directions with bias (T, batch, gates x units), both in order of time
    recurrent : (2, units, gates x units)
    mask : of the state (2, gates, batch, units), or None

    Returns
    -------
    (2, T, batch, units), the second direction in its own order (time reversed)
    """

    @staticmethod
    def gathered(forward: Tensor, backward: Tensor, part: slice) -> Tensor:
        """A new buffer (2, T, batch, values) of both directions, each in its own order."""
        forward, backward = forward[..., part], backward[..., part]
        out = torch.empty((2, *forward.shape), dtype=forward.dtype, device=forward.device)
        out[0], out[1] = forward, backward.flip(0)
        return out

    @staticmethod
    def steps(buffer: Tensor) -> tuple[Tensor, ...]:
        """Views of each step (2, batch, values)."""
        return buffer.unbind(1)

    @staticmethod
    def weight_gradient(state: Tensor, mask: Tensor | None, gates: Tensor) -> Tensor:
        """(2, units, values) from states (2, T, batch, units) and gradients (2, T, batch, values) of what they gave."""
        if mask is not None:
            state = state * mask[:, None]
        return state.flatten(1, 2).transpose(1, 2) @ gates.flatten(1, 2)


def _inside(gate: Tensor) -> Tensor:
    """1 where a clipped gate is not at its ends, else 0."""
    return ((gate > 0) & (gate < 1)).to(gate.dtype)


def _squash(gate: Tensor, logistic: bool) -> Tensor:
    """The activation of a gate's argument, in place; that of a hard-sigmoid gate is already 0.2 a + 0.5."""
    return gate.sigmoid_() if logistic else gate.clamp_(0, 1)


class _GRU(_Recurrence):
    """Gates z, r and candidate c; z and r are kept together. 0.2 a + 0.5 is folded into inputs and weights.

    `apply` takes one thing more than its base says: whether the gates are logistic. And a mask of the state may be
    (2, 1, batch, units): it is for everything that the state enters, z * h too.
    """

    @staticmethod
    def forward(
        ctx: Any, forward: Tensor, backward: Tensor, recurrent: Tensor, mask: Tensor | None, logistic: bool
    ) -> Tensor:
        units, slope = recurrent.shape[1], 1.0 if logistic else 0.2
        zr = _GRU.gathered(forward, backward, slice(2 * units))
        if not logistic:
            zr.mul_(slope).add_(0.5)
        c = _GRU.gathered(forward, backward, slice(2 * units, None))
        u_zr, u_c = recurrent[..., : 2 * units] * slope, recurrent[..., 2 * units :].contiguous()
        states = zr.new_zeros((2, zr.shape[1] + 1, zr.shape[2], units))
        h, *after = _GRU.steps(states)
        whole = mask[:, 0] if mask is not None and mask.shape[1] == 1 else None
        reset, left = torch.empty_like(h), torch.empty_like(h)
        steps = (_GRU.steps(buffer) for buffer in (zr, zr[..., :units], zr[..., units:], c))
        for zr_t, z, r, c_t, new in zip(*steps, after):
            if whole is not None:
                h = torch.mul(h, whole, out=left)
            if mask is None or whole is not None:
                _squash(zr_t.baddbmm_(h, u_zr), logistic)
                torch.mul(r, h, out=reset)
            else:
                _squash(z.baddbmm_(h * mask[:, 0], u_zr[..., :units]), logistic)
                _squash(r.baddbmm_(h * mask[:, 1], u_zr[..., units:]), logistic)
                torch.mul(r, h, out=reset).mul_(mask[:, 2])
            c_t.baddbmm_(reset, u_c).tanh_()
            torch.lerp(c_t, h, z, out=new)
            h = new
        ctx.save_for_backward(zr, c, states, u_zr, u_c, mask)
        ctx.logistic = logistic
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad.device.type, enabled=False):
            return _GRU._backward(ctx, grad)

    @staticmethod
    def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        zr, c, states, u_zr, u_c, mask = ctx.saved_tensors
        units, before = c.shape[-1], states[:, :-1]
        whole = None
        if mask is not None and mask.shape[1] == 1:
            whole, mask = mask[:, 0], None
            before = before * whole[:, None]
        z, r = zr[..., :units], zr[..., units:]
        # What the gradients are multiplied with; in the loop they become the gradients of the gates' arguments.
        d_zr = zr * (1 - zr) if ctx.logistic else _inside(zr)
        d_zr[..., :units].mul_(before - c)
        d_zr[..., units:].mul_(before)
        d_c = (1 - z).mul_(1 - c * c)
        t_zr, t_c = u_zr.transpose(1, 2).contiguous(), u_c.transpose(1, 2).contiguous()
        dh, carry, d_reset = (torch.zeros_like(grad[:, 0]) for _ in range(3))
        buffers = (grad, z, r, d_zr, d_zr[..., :units], d_zr[..., units:], d_c)
        for step in zip(*(reversed(_GRU.steps(buffer)) for buffer in buffers)):
            grad_t, z_t, r_t, d_zr_t, d_z_t, d_r_t, d_c_t = step
            torch.add(grad_t, carry, out=dh)
            torch.bmm(d_c_t.mul_(dh), t_c, out=d_reset)
            if mask is not None:
                d_reset.mul_(mask[:, 2])
            d_z_t.mul_(dh)
            d_r_t.mul_(d_reset)
            torch.mul(dh, z_t, out=carry).addcmul_(d_reset, r_t)
            if mask is None:
                carry.baddbmm_(d_zr_t, t_zr)
                if whole is not None:
                    carry.mul_(whole)
            else:
                carry.addcmul_(d_z_t @ t_zr[:, :units], mask[:, 0])
                carry.addcmul_(d_r_t @ t_zr[:, units:], mask[:, 1])
        if not ctx.logistic:
            d_zr.mul_(0.2)
        reset = r * before
        if mask is None:
            parts = [_GRU.weight_gradient(before, None, d_zr), _GRU.weight_gradient(reset, None, d_c)]
        else:
            parts = [
                _GRU.weight_gradient(state, mask[:, gate], part)
                for gate, (state, part) in enumerate(
                    ((before, d_zr[..., :units]), (before, d_zr[..., units:]), (reset, d_c))
                )
            ]
        d_forward = torch.cat((d_zr[0], d_c[0]), dim=2)
        d_backward = torch.cat((d_zr[1].flip(0), d_c[1].flip(0)), dim=2)
        return d_forward, d_backward, torch.cat(parts, dim=2), None, None


class _LSTM(_Recurrence):
    """Gates inside in the order o, i, f, c: the clipped ones stand together, and those that act on the cell do."""

    @staticmethod
    def forward(ctx: Any, forward: Tensor, backward: Tensor, recurrent: Tensor, mask: Tensor | None) -> Tensor:
        units = recurrent.shape[1]
        gates = _LSTM.gathered(_inner(forward), _inner(backward), slice(None))
        clipped = gates[..., : 3 * units]
        clipped.mul_(0.2).add_(0.5)
        u = _inner(recurrent)
        u[..., : 3 * units] *= 0.2
        mask = None if mask is None else mask[:, [3, 0, 1, 2]]
        shape = (2, gates.shape[1] + 1, gates.shape[2], units)
        states, cells = gates.new_zeros(shape), gates.new_zeros(shape)
        squashed = gates.new_empty((2, *gates.shape[1:3], units))
        h, *after = _LSTM.steps(states)
        cell, *cells_after = _LSTM.steps(cells)
        parts = [gates, clipped, *gates.chunk(4, dim=3), squashed]
        for step in zip(*(_LSTM.steps(buffer) for buffer in parts), cells_after, after):
            all_t, clipped_t, o, i, f, c, squashed_t, new_cell, new = step
            if mask is None:
                all_t.baddbmm_(h, u)
            else:
                for part, m, weight in zip((o, i, f, c), mask.unbind(1), u.chunk(4, dim=2)):
                    part.baddbmm_(h * m, weight)
            clipped_t.clamp_(0, 1)
            torch.mul(f, cell, out=new_cell).addcmul_(i, c.tanh_())
            torch.mul(o, torch.tanh(new_cell, out=squashed_t), out=new)
            h, cell = new, new_cell
        ctx.save_for_backward(gates, states, cells, squashed, u, mask)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad.device.type, enabled=False):
            return _LSTM._backward(ctx, grad)

    @staticmethod
    def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, states, cells, squashed, u, mask = ctx.saved_tensors
        units, before = squashed.shape[-1], states[:, :-1]
        o, i, f, c = gates.chunk(4, dim=3)
        # What the gradients of state (o) and of cell (i, f, c; `through`) are multiplied with.
        d_gates = torch.cat((_inside(gates[..., : 3 * units]), 1 - c * c), dim=3)
        for part, factor in zip(d_gates.chunk(4, dim=3), (squashed, c, cells[:, :-1], i)):
            part.mul_(factor)
        through = (1 - squashed * squashed).mul_(o)
        t = u.transpose(1, 2).contiguous()
        dh, carry, d_cell, scratch = (torch.zeros_like(grad[:, 0]) for _ in range(4))
        buffers = (grad, f, through, d_gates, d_gates[..., :units], d_gates[..., units:].unflatten(3, (3, units)))
        for step in zip(*(reversed(_LSTM.steps(buffer)) for buffer in buffers)):
            grad_t, f_t, through_t, d_gates_t, d_o_t, d_rest_t = step
            torch.add(grad_t, carry, out=dh)
            d_cell.addcmul_(dh, through_t)
            d_o_t.mul_(dh)
            d_rest_t.mul_(d_cell[:, :, None])
            d_cell.mul_(f_t)
            if mask is None:
                torch.bmm(d_gates_t, t, out=carry)
            else:
                carry.zero_()
                for part, m, weight in zip(d_gates_t.chunk(4, dim=2), mask.unbind(1), t.chunk(4, dim=1)):
                    carry.addcmul_(torch.bmm(part, weight, out=scratch), m)
        d_gates[..., : 3 * units].mul_(0.2)
        if mask is None:
            d_u = _LSTM.weight_gradient(before, None, d_gates)
        else:
            parts = zip(mask.unbind(1), d_gates.chunk(4, dim=3))
            d_u = torch.cat([_LSTM.weight_gradient(before, m, part) for m, part in parts], dim=2)
        return _outer(d_gates[0]), _outer(d_gates[1].flip(0)), _outer(d_u), None


def _inner(values: Tensor) -> Tensor:
    """Last dimension from Keras' order i, f, c, o to o, i, f, c."""
    i, f, c, o = values.chunk(4, dim=-1)
    return torch.cat((o, i, f, c), dim=-1)


def _outer(values: Tensor) -> Tensor:
    """The inverse of `_inner`."""
    o, i, f, c = values.chunk(4, dim=-1)
    return torch.cat((i, f, c, o), dim=-1)


class KerasGRU(BidirectionalKeras2):
    """GRU with the reset gate before the recurrent matrix (`reset_after=False`), which PyTorch's own GRU has behind.

    h~ = tanh(W_h x + b_h + U_h (r * h)), h' = z * h + (1 - z) * h~. Columns in the order z, r, h.

    Parameters
    ----------
    size, units, dropout : see `BidirectionalKeras2`
    gate : "hard_sigmoid" as Keras 2.2 has it, or "sigmoid" as Keras 2.3, whose dropout also has one mask for all gates,
        and what is left of the state enters z * h
    """

    gates = 3
    _recurrence = _GRU

    def __init__(self, size: int, units: int, *, dropout: float = 0.0, gate: str = "hard_sigmoid"):
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}, found {gate}")
        super().__init__(size, units, dropout=dropout)
        self.logistic = gate == "sigmoid"
        if self.logistic:
            self.masks = 1

    def _recur(self, forward: Tensor, backward: Tensor, mask: Tensor | None) -> Tensor:
        states: Tensor = _GRU.apply(forward, backward, self.recurrent, mask, self.logistic)
        return states


class KerasLSTM(BidirectionalKeras2):
    """LSTM with hard-sigmoid gates, columns in the order i, f, c, o; the bias of the forget gate starts at 1."""

    gates = 4
    _recurrence = _LSTM

    def __init__(self, size: int, units: int, *, dropout: float = 0.0):
        super().__init__(size, units, dropout=dropout)
        with torch.no_grad():
            self.bias[:, units : 2 * units] = 1


class BidirectionalTF2(nn.Module):
    """GRU or LSTM with the defaults of TensorFlow 2: (batch, T, size) -> forward x backward output (batch, T, units).

    Logistic gates; the GRU applies its reset gate behind the recurrent matrix and has two biases, as PyTorch's own; the
    LSTM has one bias, 1 for the forget gate at first. Dropout, in training, is one mask per direction on the input, the
    same over time. Initialisation as in `BidirectionalKeras2`.

    Parameters
    ----------
    kind : "gru" or "lstm"
    others : see `BidirectionalKeras2`
    """

    def __init__(self, kind: str, size: int, units: int, *, dropout: float = 0.0):
        super().__init__()
        make = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.dropout = dropout
        layers = [make(size, units, batch_first=True) for _ in range(2)]
        self.directions = nn.ModuleList(layers)
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight_ih_l0)
            nn.init.orthogonal_(layer.weight_hh_l0)
            nn.init.zeros_(layer.bias_ih_l0)
            nn.init.zeros_(layer.bias_hh_l0)
            if kind == "lstm":
                nn.init.ones_(layer.bias_ih_l0[units : 2 * units])
                layer.bias_hh_l0.requires_grad_(False)  # stays 0: Keras has one bias

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, size) -> (batch, T, units), in the precision of the weights."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(next(self.directions.parameters()).dtype)
            masks: Sequence[Tensor | None] = (None, None)
            if self.training and self.dropout:
                masks = nn.functional.dropout(x.new_ones((2, len(x), 1, x.shape[2])), self.dropout).unbind(0)
            inputs = [x if mask is None else x * mask for mask in masks]
            forward, _ = self.directions[0](inputs[0])
            backward, _ = self.directions[1](inputs[1].flip(1))
            return forward * backward.flip(1)
