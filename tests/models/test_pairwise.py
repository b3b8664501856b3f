"""The PPM's loss, against values worked by hand, and what it promises of its gradient."""

import math

import pytest
import torch
from torch import Tensor

from models.pairwise import pairwise_loss, served


def loss_of(chosen: list[float], rejected: list[float], weight: list[float] | None = None) -> Tensor:
    weights = torch.ones(len(chosen)) if weight is None else torch.tensor(weight)
    return pairwise_loss(torch.tensor(chosen), torch.tensor(rejected), weights)


def test_a_pair_told_apart_by_0_8_costs_0_371101_nats() -> None:
    assert loss_of([1.2], [0.4]).item() == pytest.approx(0.371101, abs=5e-7)  # ln(1 + e^-0.8)


def test_a_weight_of_a_quarter_beside_a_pair_that_costs_nothing_gives_the_published_loss() -> None:
    assert loss_of([1.2, 100.0], [0.4, 0.0], [0.25, 0.75]).item() == pytest.approx(0.092775, abs=5e-7)


def test_two_pairs_are_averaged_by_weight() -> None:
    # 3/4 of ln(1 + e^-0.8) and 1/4 of ln(1 + e^2): 0.278326 + 0.531732
    assert loss_of([1.2, -1.0], [0.4, 1.0], [0.75, 0.25]).item() == pytest.approx(0.810058, abs=5e-7)


def test_equal_logits_cost_ln_2_and_pull_apart_by_a_half_each() -> None:
    chosen, rejected = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    loss = pairwise_loss(chosen, rejected, torch.ones(1))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert (chosen.grad.item(), rejected.grad.item()) == (-0.5, 0.5)


def test_the_gradient_raises_the_chosen_lowers_the_rejected_and_sums_to_nothing() -> None:
    logits = torch.tensor([[0.3, -2.0, 5.0], [1.1, -2.5, 5.0]], requires_grad=True)
    pairwise_loss(logits[0], logits[1], torch.tensor([0.25, 1.0, 0.5])).backward()
    assert logits.grad is not None
    assert (logits.grad[0] < 0).all()
    assert (logits.grad[1] > 0).all()
    torch.testing.assert_close(logits.grad.sum(0), torch.zeros(3))


def test_only_differences_of_logits_count() -> None:
    assert loss_of([3.2, 6.0], [2.4, 7.0]).item() == pytest.approx(loss_of([1.2, 0.0], [0.4, 1.0]).item())


def test_the_scale_of_the_weights_does_not_count_and_a_weight_of_nothing_is_no_pair() -> None:
    some = loss_of([1.2, -1.0], [0.4, 1.0], [0.25, 0.5]).item()
    assert loss_of([1.2, -1.0], [0.4, 1.0], [2.5, 5.0]).item() == pytest.approx(some)
    assert loss_of([1.2, -1.0, 9.0], [0.4, 1.0, -9.0], [0.25, 0.5, 0.0]).item() == pytest.approx(some)


def test_the_order_of_the_pairs_does_not_count() -> None:
    there, back = loss_of([1.2, -1.0], [0.4, 1.0], [0.75, 0.25]), loss_of([-1.0, 1.2], [1.0, 0.4], [0.25, 0.75])
    assert there.item() == pytest.approx(back.item())


def test_swapping_the_sides_costs_the_difference_more() -> None:
    # -log sigmoid(-d) = d - log sigmoid(d)
    assert loss_of([0.4], [1.2]).item() - loss_of([1.2], [0.4]).item() == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("apart", [200.0, -200.0])
def test_far_apart_logits_neither_overflow_nor_lose_their_gradient(apart: float) -> None:
    chosen = torch.tensor([apart], requires_grad=True)
    loss = pairwise_loss(chosen, torch.zeros(1), torch.ones(1))
    loss.backward()
    assert chosen.grad is not None
    assert loss.item() == pytest.approx(max(0.0, -apart))
    assert chosen.grad.item() == pytest.approx(0.0 if apart > 0 else -1.0)


def test_a_logit_of_four_over_a_scale_of_five_is_served_as_0_66404() -> None:
    found = served(torch.tensor([4.0, 0.0, -4.0]), 5.0)
    assert found.tolist() == pytest.approx([0.66404, 0.0, -0.66404], abs=5e-6)
