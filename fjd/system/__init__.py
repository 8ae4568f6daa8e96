"""The outside world, one door each: files, processes, events, the C library, and libraries."""
