"""Models of other frameworks: packaged by what their files tell."""
