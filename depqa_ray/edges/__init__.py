"""Which question needs whose answer: edges proposed, selected, compared, and the graph that they form."""
