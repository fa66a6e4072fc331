"""As much of torchvision as neural-style imports, where it has no build for the CPU: for benchmarks only."""
