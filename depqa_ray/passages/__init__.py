"""The data: passages with their questions, loaded from data sets and sampled.

- ``sources``: the entry point, from a data set's name to its passages
- ``squad``: files in the official SQuAD JSON schema
- ``rows``: one question a row: JSON lines or a list, Parquet, and the hub's SQuAD
- ``musique``: MuSiQue-Ans files
- ``schema``: the types of rows, and the messages for what is wrong with one
- ``assembly``: from checked questions to a Passage
- ``base``: a row, and what is reported of a bad one
- ``sampling``: which passages and questions a run takes
- ``synthetic``: generated passages
"""
