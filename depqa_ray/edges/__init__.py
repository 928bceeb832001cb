"""The edges between a passage's questions: where they come from, which are selected, and the graph that they form.

- ``source``: the edges of the source that the user chose (gold, heuristic, model), selected
- ``heuristic``, ``reply``: edges from the questions' wording, and from a model's reply
- ``cache``: model replies of earlier runs
- ``selection``: which proposed edges are worth their tokens
- ``graph``: the DAG of the selected edges
- ``quality``: precision and recall against the gold edges
"""
