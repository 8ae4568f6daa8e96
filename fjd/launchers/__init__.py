"""Ways of starting workers: screen sessions, detached processes, other hosts over SSH."""
