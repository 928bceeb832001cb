"""The default engine: each shared prefix is computed once, all sequences decode together."""
