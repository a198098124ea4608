"""MCP servers that nobody here wrote, locked with hashes and installed into `.cache/servers` when a test wants them."""
