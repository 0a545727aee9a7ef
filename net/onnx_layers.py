"""Recurrent layers as the operators that ONNX has for them, for networks that are exported.

Traced as they are, layers of PyTorch become one node per step of time, and those of `net.recurrent` cannot be traced.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from net.recurrent import KerasGRU, KerasLSTM

_HARD = {"activation_alpha": [0.2, 0.2], "activation_beta": [0.5, 0.5]}  # clip(0.2 x + 0.5, 0, 1), for each direction


def with_onnx_layers(network: nn.Module) -> nn.Module:
    """A copy of a network whose recurrent layers are operators of ONNX when it is traced."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GRU | nn.LSTM):
                _take_over(child)
            elif isinstance(child, KerasGRU | KerasLSTM):
                setattr(module, name, _OfKeras(child))
    return network


class _Layer(nn.Module):
    """One operator: (T, batch, size) -> (T, directions, batch, units), every direction in the order of time.

    Parameters
    ----------
    kind : "GRU" or "LSTM"
    order : of the gates, ONNX's own being z, r, h and i, o, f, c
    kernel, recurrent : (directions, gates x units, size or units)
    bias : (directions, 2 gates x units), of the input, then of the state
    attributes : of the operator besides its sizes
    """

    kernel: Tensor
    recurrent: Tensor
    bias: Tensor

    def __init__(
        self,
        kind: str,
        order: tuple[int, ...],
        kernel: Tensor,
        recurrent: Tensor,
        bias: Tensor,
        attributes: dict[str, Any],
    ):
        super().__init__()
        self.kind, self.units, self.directions = kind, recurrent.shape[2], len(kernel)
        self.attributes = {
            "hidden_size": self.units,
            "direction": "bidirectional" if self.directions == 2 else "forward",
            **attributes,
        }
        gates = len(order)
        ordered = {
            name: torch.cat([part.chunk(gates, dim=1)[gate] for gate in order], dim=1)
            for name, part in (("kernel", kernel), ("recurrent", recurrent))
        }
        halves = [half.chunk(gates, dim=1)[gate] for half in bias.chunk(2, dim=1) for gate in order]
        for name, value in (*ordered.items(), ("bias", torch.cat(halves, dim=1))):
            self.register_buffer(name, value.detach().clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            self.kind,
            (x, self.kernel, self.recurrent, self.bias),
            self.attributes,
            dtype=x.dtype,
            shape=(x.shape[0], self.directions, x.shape[1], self.units),
        )


class _Operators:
    """What stands before `nn.GRU` or `nn.LSTM` among the bases of a layer: the same call, the last state left out."""

    batch_first: bool
    operators: nn.ModuleList

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = x.transpose(0, 1) if self.batch_first else x
        for operator in self.operators:
            x = operator(x).transpose(1, 2).flatten(2)
        return (x.transpose(0, 1) if self.batch_first else x), None


class _GRU(_Operators, nn.GRU):  # type: ignore[misc]
    pass


class _LSTM(_Operators, nn.LSTM):  # type: ignore[misc]
    pass


def _take_over(layer: nn.GRU | nn.LSTM) -> None:
    """Make a layer of PyTorch, or of a class derived from one, compute by operators."""
    if not layer.bias or layer.proj_size:
        raise ValueError(f"{layer}: only layers with biases and without projection are exported")
    gru = isinstance(layer, nn.GRU)
    order, attributes = ((1, 0, 2), {"linear_before_reset": 1}) if gru else ((0, 3, 1, 2), {})
    operators = nn.ModuleList()
    for number in range(layer.num_layers):
        ends = [f"_l{number}{end}" for end in ("", "_reverse")[: 1 + layer.bidirectional]]
        kernel, recurrent, *biases = (
            torch.stack([getattr(layer, name + end) for end in ends])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        kind = "GRU" if gru else "LSTM"
        operators.append(_Layer(kind, order, kernel, recurrent, torch.cat(biases, dim=1), attributes))
    base: type[nn.Module] = _GRU if gru else _LSTM
    own = type(layer)
    layer.__class__ = base if own in (nn.GRU, nn.LSTM) else type(own.__name__, (own, base), {})
    layer.operators = operators


class _OfKeras(nn.Module):
    """In place of `KerasGRU` or `KerasLSTM`."""

    def __init__(self, layer: KerasGRU | KerasLSTM):
        super().__init__()
        gru = isinstance(layer, KerasGRU)
        activations = 2 * (["HardSigmoid", "Tanh"] if gru else ["HardSigmoid", "Tanh", "Tanh"])
        self.layer = _Layer(
            "GRU" if gru else "LSTM",
            (0, 1, 2) if gru else (0, 3, 1, 2),
            layer.kernel.mT,
            layer.recurrent.mT,
            torch.cat((layer.bias, torch.zeros_like(layer.bias)), dim=1),
            {"activations": activations, **_HARD},
        )

    def forward(self, x: Tensor) -> Tensor:
        forward, backward = self.layer(x.transpose(0, 1)).unbind(1)
        return (forward * backward).transpose(0, 1)
