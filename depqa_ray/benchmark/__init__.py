"""Measures engines against each other and against the machine's ceilings: ``bench engine``.

- The course: ``run`` (the engines take turns), ``verify`` (compare answers with ``generate``).
- Settings and prompts: ``settings``, ``workload``.
- Processes, one an engine: ``engines`` starts them; ``client`` and ``worker`` are the two ends of ``protocol``.
- Measuring: ``ceilings`` and ``machine``; ``model_shape`` holds the results as plain numbers.
- Figures: ``prefix_tree`` (least tokens), ``roofline`` (least time), ``figures`` (rates, medians and ratios).
- Results: ``schema`` (the JSON), ``table`` (terminal and Markdown).
- ``random_weights`` makes a model from its configuration alone; ``peers`` are engines that are only measured.

Only ``ceilings``, ``random_weights`` and ``peers`` import torch; the worker imports them.
"""
