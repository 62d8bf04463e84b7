"""The proof that axis 0 is a batch axis: by runs of the model, and by its graph."""
