"""What pyproject.toml cannot say: the convolution in C, built where there is a compiler; done without elsewhere."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "impasto.winograd._winograd",
            ["src/impasto/winograd/winograd.c"],
            depends=["src/impasto/winograd/kernel.h"],
            extra_compile_args=["-O3", "-std=gnu11"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
