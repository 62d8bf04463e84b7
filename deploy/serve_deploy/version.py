"""The version of this package, which what it writes carries."""

__version__ = "0.1.0"
