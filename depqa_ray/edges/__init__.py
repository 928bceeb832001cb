"""The edges between a passage's questions: where they come from, which are selected, and the graph that they form.

- ``source``: from the source that the user chose to the selected edges
- ``gold``, ``heuristic``, ``reply``: edges of the data set, of the questions' wording, of a model's reply
- ``cache``: model replies of earlier runs
- ``selection``: which proposed edges are worth their tokens
- ``graph``: the DAG of the selected edges
- ``quality``: precision and recall against the gold edges
"""
