"""The contract of loss terms: a loss from outside the package runs whole and in tiles, local or by sums."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.testing import assert_close

from impasto.losses.objective import Objective
from impasto.losses.statistics import Sums
from impasto.losses.terms import ContentLoss, LossTerm, Positions
from impasto.vgg import tiling
from impasto.vgg.encoder import random_encoder

SIZE = (41, 54)


@dataclass(frozen=True, eq=False)
class Sparsity(LossTerm):
    """A local loss of our own: weight * Σ F⁴ over positions, each counted by a mask."""

    layer: str
    weight: float
    mask: torch.Tensor
    is_local: ClassVar[bool] = True

    @property
    def name(self):
        return f"sparsity {self.layer}"

    def restricted_to(self, positions):
        return dataclasses.replace(self, mask=positions.of(self.mask))

    def accumulate_grad(self, features, grad_sums, grad):
        grad.add_(4 * self.weight * self.mask * features**3)
        return self.weight * (self.mask * features**4).sum().item()


@dataclass(frozen=True, eq=False)
class Peakiness(LossTerm):
    """A loss of sums of our own: weight * (mean of F³)², over all channels and positions."""

    layer: str
    weight: float

    @property
    def name(self):
        return f"peakiness {self.layer}"

    def reduce(self, features):
        return Sums((features**3).sum(), torch.tensor(float(features.numel()), dtype=features.dtype))

    def finish(self, sums):
        return self.weight * sums.mean.item() ** 2, 2 * self.weight * sums.mean / sums.weight_sum

    def accumulate_grad(self, features, grad_sums, grad):
        grad.add_(3 * grad_sums * features**2)
        return 0.0


def noise(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("window", [1, 900])
def test_a_loss_from_outside_the_package(window):
    encoder = random_encoder(((1, 3), (2, 4), (1, 5)))
    terms = (Sparsity("relu2_1", 0.3, noise(1, 20, 27)), Peakiness("relu3_1", 2.0), Peakiness("relu1_1", 1.0))
    image = noise(0, 1, 3, *SIZE)
    tiles = tiling.divide(encoder, {term.layer for term in terms}, *SIZE, window)
    assert len(tiles) > 4
    whole, tiled = (Objective(encoder, terms, tiles=each).value_and_grad(image) for each in ((), tiles))
    assert list(whole.terms) == list(tiled.terms) == ["sparsity relu2_1", "peakiness relu3_1", "peakiness relu1_1"]
    assert_close(tiled.loss, whole.loss, rtol=1e-12, atol=0)
    assert_close(tiled.gradient, whole.gradient, rtol=1e-10, atol=1e-14)

    x = image.clone().requires_grad_()
    features = encoder(x, ["relu1_1", "relu2_1", "relu3_1"])
    expected = 0.3 * (terms[0].mask * features["relu2_1"] ** 4).sum()
    expected = expected + 2 * (features["relu3_1"] ** 3).mean() ** 2 + (features["relu1_1"] ** 3).mean() ** 2
    assert_close(whole.loss, expected.item(), rtol=1e-12, atol=0)
    assert_close(whole.gradient, torch.autograd.grad(expected, x)[0])


def test_a_local_loss_has_no_sums():
    term = Sparsity("relu2_1", 0.3, noise(1, 20, 27))
    for call in (lambda: term.reduce(noise(0, 1, 4, 20, 27)), lambda: term.finish(Sums(term.mask, term.mask))):
        with pytest.raises(TypeError, match="sparsity relu2_1 is a local loss"):
            call()


def test_terms_that_read_the_photo_need_one():
    objective = Objective(random_encoder(((1, 3),)), (ContentLoss("relu1_1", None, 1.0),))
    with pytest.raises(ValueError, match="need the photo"):
        objective.value_and_grad(noise(0, 1, 3, 8, 8))


def test_positions_cut_what_is_held_for_each():
    positions = Positions(slice(2, 4), slice(None))
    whole = noise(0, 6, 5)
    assert_close(positions.of(whole), whole[2:4])
    assert positions.of(None) is None
