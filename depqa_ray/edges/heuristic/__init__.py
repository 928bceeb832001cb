"""Edges proposed from the wording of English questions, without a model.

- ``propose``: the entry point, which collects the proposals of the four signs
- ``ordinals``: "question 2", "#2", "the previous answer"
- ``demonstratives``: "that town", "the same river"
- ``aggregates``: "How many in total?", "Which of these is older?"
- ``pronouns``: he, it, there, since then
- ``question``: a parsed question, and a proposal
- ``words``: word classes, and folding to the singular
"""
