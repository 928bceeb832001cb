"""Generated passages whose questions depend on each other in a known way.

- ``worlds``: the generator, from a seed to passages
- ``names``: the invented names that worlds draw from
- ``export``: worlds as files in the SQuAD schema, among them the one that ships with the package
"""
