"""Ollama, the engine that users run: its native API behind the port, spoken to over HTTP."""
