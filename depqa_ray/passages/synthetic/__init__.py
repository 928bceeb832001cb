"""Generated passages whose questions depend on each other in a known way.

- ``worlds``: the generator, from a seed to passages
- ``names``: the invented names that worlds draw from
- ``export``: worlds as a file in the SQuAD schema
- ``embedded``: the worlds that ship with the package
"""
