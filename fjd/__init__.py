"""fjd: run ten thousand jobs on every CPU that shares a home directory."""

__version__ = "1.0.0"
