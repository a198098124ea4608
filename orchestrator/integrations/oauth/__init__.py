"""OAuth for plugins at an address, as the MCP specification has it: who logs in is a person at the command line,
or the service itself where `mcp.json` gives it credentials of its own."""
