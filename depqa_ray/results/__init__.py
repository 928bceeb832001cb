"""A run on disk and the figures that follow from it.

Three words for three forms of one fact:

- A *record* is stored while the run goes on, one JSON line each (``records``).
- An *entry* is a part of ``results.json``, with figures computed from the records (``schema``).
- A *view* is shown on a page or the terminal, with every number formatted (``depqa_ray.report.view``).

- ``records``: the records, and the lines that hold them
- ``manifest``: a run's settings, versions and devices
- ``replicas``: what replicas said of themselves
- ``privacy``: what a run directory must not contain
- ``store``: the run directory: create, append, read back
- ``schema``: the entries of ``results.json``
- ``metrics``: records to entries: ``compute_results`` and the figures of a strategy
- ``entries``: the figures of one passage, and the means that all figures use
- ``intervals``: confidence intervals and differences to the baseline; ``bootstrap`` draws the resamples
- ``predictions``: the answers in SQuAD's official format
- ``parquet``: the answers as a table for data frames
- ``trace``: the steps as a Chrome trace
"""
