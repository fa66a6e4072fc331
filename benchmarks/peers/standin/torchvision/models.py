"""VGG-19 with the weights of the file that the environment variable VGG names, for inputs as torchvision's has them."""

import os
import types

import torch

#: The standard deviations and means of normalised inputs (RGB), and the means that the file's inputs lack (RGB, 0-255).
DEVIATIONS, MEANS, FILE_MEANS = (0.229, 0.224, 0.225), (0.485, 0.456, 0.406), (123.68, 116.779, 103.939)

VGG19_Weights = types.SimpleNamespace(IMAGENET1K_V1=None)


def vgg19(**_):
    state = torch.load(os.environ["VGG"], weights_only=True)
    layers, index = [], 0
    for count in (2, 2, 4, 4, 4):
        for _ in range(count):
            weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
            if index == 0:
                weight = weight.flip(1)  # BGR to RGB
                shift = torch.tensor(MEANS) * 255 - torch.tensor(FILE_MEANS)
                bias = bias + (weight * shift.view(3, 1, 1)).sum((1, 2, 3))
                weight = weight * (255 * torch.tensor(DEVIATIONS)).view(3, 1, 1)
            layer = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            with torch.no_grad():
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
            layers += [layer, torch.nn.ReLU(inplace=False)]
            index += 2
        layers.append(torch.nn.MaxPool2d(2))
        index += 1
    return types.SimpleNamespace(features=torch.nn.Sequential(*layers))


#: There are no weights of VGG-16 in the package index; at the same numbers, VGG-19's layers are about as deep.
vgg16 = vgg19
