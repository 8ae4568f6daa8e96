"""The commands: one module each; parse, call, return an exit code."""
