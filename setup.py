"""The compiled part; everything else about the package is in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import Extension, setup

sources = Path("depqa_ray/engines/cpu/csrc")
digest = runpy.run_path("depqa_ray/code_version.py")["kernel_sources"]()

setup(
    ext_modules=[
        Extension(
            "depqa_ray.engines.cpu._packed_attention",  # loaded by ctypes, not imported: see engines/cpu/attention.py
            sources=[str(sources / "packed_attention.c"), str(sources / "rows.c")],
            depends=[str(sources / "packed_attention.h"), str(sources / "packed_attention_variant.h")],
            define_macros=[("SOURCES", f'"{digest}"')],  # the loader refuses a library of other sources
            extra_compile_args=["-O3"],
            optional=True,  # without a C compiler, attention runs on torch alone
        )
    ]
)
