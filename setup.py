"""The compiled part; everything else about the package stands in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

sources = Path("depqa_ray/engines/cpu/csrc")

setup(
    ext_modules=[
        Extension(
            "depqa_ray.engines.cpu._packed_attention",  # loaded by ctypes, not imported: see engines/cpu/attention.py
            sources=[str(sources / "packed_attention.c"), str(sources / "rows.c")],
            depends=[str(sources / "packed_attention.h"), str(sources / "packed_attention_variant.h")],
            extra_compile_args=["-O3"],
            optional=True,  # without a C compiler, attention runs on torch alone
        )
    ]
)
