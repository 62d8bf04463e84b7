"""Files between here and a store: many at once, each compared with what it must be."""
