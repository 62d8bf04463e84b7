"""Changes of a release by helm: deployed, rolled back, removed, and waited for."""
