"""A persistent knowledge file as an MCP server: notes with titles and tags, and a ranked search over them."""

__version__ = "0.1.0"
