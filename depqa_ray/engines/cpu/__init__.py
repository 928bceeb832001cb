"""The faster half of the local engines on a CPU; all of it is optional, torch's operations do the same.

- ``attention``: the packed attention of ``shared_prefix`` in one call into the compiled kernel of ``csrc/``.
- ``kernels``: norm and argmax of bfloat16 rows, from the same library.
- ``layers``: a model's linear layers, MLPs and norms, replaced by faster ones.
"""
