"""The generator processes: what they are told, and one period of sending in each."""
