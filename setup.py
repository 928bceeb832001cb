"""The compiled part; everything else about the package stands in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

native = Path("depqa_ray/engines/native")

setup(
    ext_modules=[
        Extension(
            "depqa_ray.engines._packed_attention",  # loaded by ctypes, not imported: see engines/native_attention.py
            sources=[str(native / "packed_attention.c"), str(native / "rows.c")],
            depends=[str(native / "packed_attention.h"), str(native / "packed_attention_variant.h")],
            extra_compile_args=["-O3"],
            optional=True,  # without a C compiler, attention runs on torch alone
        )
    ]
)
