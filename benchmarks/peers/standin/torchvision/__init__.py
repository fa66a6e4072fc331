"""The part of torchvision that the other programs import, for machines without a CPU build of it."""
