"""Receptive fields against gradients."""

import torch

from impasto.explain.receptive_field import receptive_field


def test_are_those_of_gradients_at_every_layer(deep):
    for layer in deep.layers:
        side = 2 * layer.field + 2 * layer.stride
        image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        place = (side // layer.stride) // 2
        x = image
        for part in deep.layers[: deep.depth(layer.name) + 1]:  # linear, so that every path counts
            if part.kind == "conv":
                x = torch.nn.functional.conv2d(x, deep.kernels[part.name].weight.abs(), padding=1)
            elif part.kind == "pool":
                x = torch.nn.functional.avg_pool2d(x, 2)
        (gradient,) = torch.autograd.grad(x[0, 0, place, place], image)
        hit = gradient[0].abs().sum(0) > 0
        rows, columns = hit.any(1).nonzero()[:, 0], hit.any(0).nonzero()[:, 0]
        field = receptive_field(deep, layer.name, place, place)
        assert (field.top, field.top + field.side - 1) == (rows.min(), rows.max()), layer.name
        assert (field.left, field.left + field.side - 1) == (columns.min(), columns.max()), layer.name
