"""The recruiter: hires workers through the launchers, fires them, and calls the roll."""
