"""A run for its readers: pages for a browser, tables for the terminal.

Everything shown is first a *view* (``view``), with every number formatted, every position computed and no HTML.

- ``tables``: the tables of figures, the same on a page and on the terminal: their columns, captions and rows
- ``intervals``: the confidence intervals; ``published`` compares a run with a published table
- ``provenance``: where the figures come from, and the notes that a reader must see; ``gaps``, those on what is missing
- ``replicas``: what the run really used: commits, engines, devices, code
- ``endings``: how a reply ended, in words
- ``build``: views of the pages; ``svg`` computes their graphs and timelines
- ``render``: views to HTML files, by ``templates``
- ``terminal``: views to lines of text
- ``text``: numbers, and texts from outside, in the form in which they are shown
"""
