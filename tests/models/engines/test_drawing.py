"""Drawing: each setting does what it says, and a draw is of its seed and position alone."""

import pytest
import torch

from models.engines.drawing import FIRST, Draw, drawn, most_likely, nucleus, uniform
from perseid.engine import Sampling

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0]).repeat(4000, 1)


def shares(sampling: Sampling, before: tuple[int, ...] = ()) -> list[float]:
    """How often each token is drawn, by 4,000 seeds."""
    tokens = drawn(LOGITS, [Draw(sampling, seed, before) for seed in range(len(LOGITS))], 3)
    return [float((tokens == token).float().mean()) for token in range(LOGITS.shape[1])]


def test_a_token_is_drawn_as_often_as_it_is_likely() -> None:
    assert shares(Sampling()) == pytest.approx(torch.softmax(LOGITS[0], 0).tolist(), abs=0.03)
    assert shares(Sampling(temperature=2.0)) == pytest.approx(torch.softmax(LOGITS[0] / 2, 0).tolist(), abs=0.03)
    assert shares(Sampling(temperature=0.0)) == [1.0, 0.0, 0.0, 0.0]


def test_top_k_and_min_p_and_top_p_leave_out_the_unlikely() -> None:
    two = torch.softmax(LOGITS[0, :2], 0).tolist()
    assert shares(Sampling(top_k=2)) == pytest.approx([*two, 0.0, 0.0], abs=0.03)
    assert shares(Sampling(min_p=0.3)) == pytest.approx([*two, 0.0, 0.0], abs=0.03)
    assert shares(Sampling(top_p=0.7)) == pytest.approx([*two, 0.0, 0.0], abs=0.03)


def test_what_was_there_before_is_rarer_by_the_penalty() -> None:
    penalised = torch.softmax(torch.tensor([1.0, 1.0, 0.0, -2.0]), 0).tolist()
    assert shares(Sampling(repetition_penalty=2.0), before=(0, 3, 0)) == pytest.approx(penalised, abs=0.03)
    assert shares(Sampling(temperature=0.0, repetition_penalty=4.0), before=(0,)) == [0.0, 1.0, 0.0, 0.0]


def test_a_draw_does_not_depend_on_what_shares_its_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 50, generator=generator)
    settings = [Sampling(), Sampling(top_k=3), Sampling(top_p=0.5), Sampling(min_p=0.2), Sampling(temperature=0.0)]
    draws = [
        Draw(sampling, seed, (1, 2)) for seed, sampling in enumerate([*settings, Sampling(repetition_penalty=1.5)])
    ]
    together = drawn(logits, draws, 5).tolist()
    assert [int(drawn(logits[i : i + 1], draws[i : i + 1], 5)) for i in range(6)] == together


def test_hashed_uniform_numbers_are_uniform_and_differ_by_position() -> None:
    numbers = uniform(range(20_000), 3)
    assert abs(numbers.mean() - 0.5) < 0.01
    assert 0.0 <= numbers.min() < numbers.max() < 1.0
    assert (numbers != uniform(range(20_000), 4)).all()


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    kept = nucleus(torch.tensor([[0.5, 0.1, 0.3, 0.1]]), torch.tensor([0.7]))
    assert kept.tolist() == [[0.5, 0.0, pytest.approx(0.3), 0.0]]


def test_of_a_large_vocabulary_the_nucleus_is_the_same_whether_its_tail_is_looked_at_or_not() -> None:
    peaked, flat = torch.linspace(0, -30, 3 * FIRST), torch.zeros(3 * FIRST)
    probabilities = torch.softmax(torch.stack([peaked, flat]), -1)
    kept = [(nucleus(row[None], torch.tensor([0.9])) > 0).sum().item() for row in probabilities]
    assert kept[0] < FIRST < kept[1]
    assert (nucleus(probabilities, torch.tensor([0.9, 0.9])) > 0).sum(-1).tolist() == kept


def test_most_likely_keeps_all_where_nothing_is_asked() -> None:
    kept = most_likely(torch.tensor([[0.5, 0.2, 0.3]] * 3), [0, 1, 9])
    assert (kept > 0).sum(-1).tolist() == [3, 1, 3]
