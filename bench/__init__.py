"""Measurements of fjd's speed, as ratios to other tools in the same run; ``python -m bench``."""
