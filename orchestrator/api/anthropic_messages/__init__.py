"""Anthropic's `/v1/messages`: requests of that dialect as ours, and our runs told as theirs are. No loop, no store."""
