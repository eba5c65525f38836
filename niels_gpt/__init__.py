"""A small GPT from nothing, over bytes."""

__version__ = "0.1.0"
