"""The part of torchvision that neural-style imports, for machines without a CPU build of it."""
