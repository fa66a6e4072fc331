"""Receptive fields, compared with the support of gradients."""

import torch

from impasto.explain.receptive_field import receptive_field


def test_receptive_fields_are_the_support_of_gradients(deep):
    for layer in deep.layers:
        side = 2 * layer.field + 2 * layer.stride
        image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        position = (side // layer.stride) // 2
        x = image
        for part in deep.layers[: deep.depth(layer.name) + 1]:  # linear with positive weights, so that no path cancels
            if part.kind == "conv":
                x = torch.nn.functional.conv2d(x, deep.kernels[part.name].weight.abs(), padding=1)
            elif part.kind == "pool":
                x = torch.nn.functional.avg_pool2d(x, 2)
        (gradient,) = torch.autograd.grad(x[0, 0, position, position], image)
        support = gradient[0].abs().sum(0) > 0
        rows, columns = support.any(1).nonzero()[:, 0], support.any(0).nonzero()[:, 0]
        field = receptive_field(deep, layer.name, position, position)
        assert (field.top, field.top + field.side - 1) == (rows.min(), rows.max()), layer.name
        assert (field.left, field.left + field.side - 1) == (columns.min(), columns.max()), layer.name
