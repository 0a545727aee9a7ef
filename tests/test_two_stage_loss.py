"""Losses of two-stage SELD: golden values and gradients, training steps, nothing active, items by themselves."""

import json

import numpy as np
import pytest
import torch

from net.two_stage import CRNN10
from output_format.two_stage import TwoStage, loss_parts, two_stage_loss
from system.presets import presets
from system.table import system_named
from tests import golden
from tests.two_stage_golden import fill, golden_of, network_input, raw_of

TASKS = {"sed_only": 0.0, "doa_only": 1.0, "two_staged_eval": 1.0, "seld": 0.2}


def losses_of(output: torch.Tensor, target: torch.Tensor, beta: float, kind: str = "MAE") -> list[float]:
    total = two_stage_loss(output, target, beta, kind=kind)
    return [total.item(), *(part.item() for part in loss_parts(output, target, kind=kind))]


def test_betas_are_those_of_the_tasks() -> None:
    found = {}
    for system in ("two_stage", "two_stage_joint"):
        settings = {**presets()[system].settings, "on_grid": True}
        found |= {stage.name: stage.output_format(settings, 11).beta for stage in system_named(system).stages}
    assert found == {"sed": TASKS["sed_only"], "doa": TASKS["doa_only"], "main": TASKS["seld"]}


@pytest.mark.parametrize("kind", ["MAE", "MSE"])
@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("task", TASKS)
def test_golden_losses_and_gradients(case: str, kind: str, task: str) -> None:
    data = np.load(golden.find("two_stage/losses.npz"))
    assert {name.split("_")[0] for name in data.files} == {"a", "b"}
    output = torch.from_numpy(raw_of(data[f"{case}_ev"], data[f"{case}_doa"])).requires_grad_()
    target = torch.from_numpy(raw_of(data[f"{case}_tev"], data[f"{case}_tdoa"]))
    expected = data[f"{case}_{kind}_{task}_loss"]
    np.testing.assert_allclose(losses_of(output, target, TASKS[task], kind), expected, atol=1e-6, rtol=1e-5)
    TwoStage(1, beta=TASKS[task], kind=kind).loss(output, target).backward()
    events, doas = golden_of(output.grad.numpy())
    np.testing.assert_allclose(events, data[f"{case}_{kind}_{task}_grad_ev"], atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(doas, data[f"{case}_{kind}_{task}_grad_doa"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("task", ["sed_only", "doa_only", "seld"])
def test_golden_training_steps(task: str) -> None:
    """Three steps of Adam in training mode: losses, gradients of every parameter, running statistics."""
    data = np.load(golden.find("two_stage/train_steps.npz"))
    names = json.loads(golden.find("two_stage/network_info.json").read_text())["param_names_order"]
    network = CRNN10(10, 11)
    fill(network)
    x = network_input()
    target = torch.from_numpy(raw_of(data["tgt_events"], data["tgt_doas"]))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, amsgrad=True)
    found = []
    for step in range(3):
        output = network.train()(x)
        found.append(losses_of(output, target, TASKS[task]))
        optimiser.zero_grad()
        two_stage_loss(output, target, TASKS[task]).backward()
        if step == 0:
            norms = np.array([parameter.grad.double().norm().item() for parameter in network.parameters()])
            due = data[f"{task}_gradnorm"]
            assert [name for name, _ in network.named_parameters()] == names and (due == 0).sum() < 6
            np.testing.assert_array_equal(norms[due == 0], 0)
            np.testing.assert_allclose(norms, due, rtol=1e-3)
            norm = network.conv_block1.bn1
            for name in ("running_mean", "running_var"):
                np.testing.assert_allclose(getattr(norm, name), data[f"{task}_bn1_{name}_after1"], atol=1e-5, rtol=0)
        optimiser.step()
    expected = data[f"{task}_losses_3steps"]
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1:], expected[1:], rtol=2e-2)


@pytest.mark.parametrize("kind", ["MAE", "MSE"])
def test_nothing_active_costs_no_localisation(kind: str) -> None:
    output = torch.rand(2, 3, 4, 16, requires_grad=True)
    for beta in (0.0, 0.2, 1.0):
        output.grad = None
        loss = two_stage_loss(output, torch.zeros(2, 3, 4, 20), beta, kind=kind)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(output.grad).all() and not output.grad[:, 1:].any()
    assert two_stage_loss(output, torch.zeros(2, 3, 4, 16), 1.0, kind=kind) == 0


@pytest.mark.parametrize("kind", ["MAE", "MSE"])
def test_a_perfect_output_costs_nothing_and_has_finite_gradients(kind: str) -> None:
    target = torch.rand(2, 3, 4, 16)
    target[:, 0] = (target[:, 0] > 0.5).float()
    output = target.clone().requires_grad_()
    loss = two_stage_loss(output, target, 0.5, kind=kind)
    loss.backward()
    assert loss == 0 and torch.isfinite(output.grad).all()


@pytest.mark.parametrize("kind", ["MAE", "MSE"])
def test_items_by_themselves(kind: str) -> None:
    torch.manual_seed(0)
    output, target = torch.rand(3, 3, 4, 16), torch.rand(3, 3, 4, 16)
    target[:, 0] = (target[:, 0] > 0.7).float()
    target[2, 0] = 0
    each = two_stage_loss(output, target, 0.2, kind=kind, reduction="window")
    assert each.shape == (3,)
    for value, one, other in zip(each, output.split(1), target.split(1)):
        torch.testing.assert_close(value, two_stage_loss(one, other, 0.2, kind=kind))


def test_only_the_reference_says_where_directions_count_and_turns_do_not_wrap() -> None:
    output, target = torch.full((1, 3, 1, 2), 0.5), torch.zeros(1, 3, 1, 2)
    target[0, :, 0, 0] = torch.tensor([1.0, torch.pi, 0.5])
    output[0, 1:, 0, 0] = torch.tensor([-torch.pi, 0.25])
    output[0, 1:, 0, 1] = 99
    _, doa = loss_parts(output, target)
    torch.testing.assert_close(doa, torch.tensor(2 * torch.pi + 0.25))


def test_half_precision_is_computed_in_float32() -> None:
    output, target = torch.rand(1, 3, 2, 16), torch.ones(1, 3, 2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = two_stage_loss(output.bfloat16(), target, 0.2)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, two_stage_loss(output.bfloat16().float(), target, 0.2))
    for how in ({"kind": "L1"}, {"reduction": "sum"}):
        with pytest.raises(ValueError, match="MAE"):
            loss_parts(output, target, **how)
