"""What pyproject.toml cannot say: the convolution in C, built where there is a compiler; done without elsewhere."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "impasto.native._native",
            ["src/impasto/native/native.c"],
            depends=[f"src/impasto/native/{part}.h" for part in ("level", "winograd", "thin", "pooling")],
            extra_compile_args=["-O3", "-std=gnu11"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
