"""Is it good enough, slower than before, and how far can it go?"""
