"""What can be tried: a candidate's fields and values, in a model's configuration and in the searches of many."""
