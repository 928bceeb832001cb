"""The settings of a run: ``sections`` declares them, ``load`` reads them."""
