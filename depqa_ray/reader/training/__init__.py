"""The recipe of the embedded reader. Not part of the wheel: nothing at run time imports it."""
