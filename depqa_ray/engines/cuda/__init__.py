"""The default engine's step on a GPU: packed layers of Triton kernels, and decoding steps as CUDA graphs.

``kernels`` has the kernels, ``attention`` the plan that says which tokens attend to what, ``decoder`` the layers, and
``graphs`` the steps that are captured once and replayed.
"""
