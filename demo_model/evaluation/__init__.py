"""The evaluation: fixed sets of prompts, asked of the real engine, judged by exact match."""
