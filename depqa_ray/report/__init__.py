"""A run for people: pages to open in a browser, tables on the terminal."""
