"""Conversations with tools, all of them made up. The same seed, words and version of Python give the same conversations.

Nothing here may draw from the dice in another order without changing what a seed means: alternatives that are
written out in a list are all drawn, and one is taken; those behind a `lambda` are drawn only if taken.
"""
