"""A clock and calendar as an MCP server: times in time zones, conversions and date arithmetic."""

__version__ = "0.1.0"
