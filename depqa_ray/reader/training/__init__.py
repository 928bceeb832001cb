"""The recipe of the embedded reader. It is not part of the wheel, and nothing at run time imports it.

- ``train``: the command that trains and saves a reader
- ``evaluate``: the command that measures one on held-out worlds; ``probe`` does so during training
- ``curriculum``, ``lessons``: what is trained on, stage by stage, and its encoding into tokens
- ``model``, ``operations``: the network, and its fast operations
- ``priming``: initial weights that already look names up
- ``tokenizer``, ``checkpoint``: the tokenizer, and saving a model that transformers can load
"""
