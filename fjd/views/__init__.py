"""The views: what a person or a program is shown of a project. They read and never change it."""
