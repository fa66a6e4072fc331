"""What pyproject.toml cannot say: the convolution in C, built where there is a compiler; done without elsewhere."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "impasto.vgg.native._native",
            ["src/impasto/vgg/native/native.c"],
            depends=[
                f"src/impasto/vgg/native/{part}.h" for part in ("isa", "masks", "winograd", "small_channels", "pooling")
            ],
            extra_compile_args=["-O3", "-std=gnu11"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
