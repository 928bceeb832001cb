"""Measures engines against each other and against the machine's ceilings: ``bench engine``.

- ``run`` measures: the engines take turns. ``verify`` compares their answers with ``generate``.
- Each engine has a process of its own: ``engines`` starts it, ``client`` and ``worker`` are the ends of ``protocol``.
- Bounds: ``ceilings`` (measured), ``prefix_tree`` (fewest tokens), ``roofline`` (least time).
- Results: ``figures``, ``schema`` (the JSON), ``table`` (terminal and Markdown).

Only ``ceilings``, ``random_weights`` and ``peers`` import torch; the worker imports them.
"""
