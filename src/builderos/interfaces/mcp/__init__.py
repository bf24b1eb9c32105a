"""The MCP door: the same tools, names and schemas as over HTTP, through the same credentials, rates and ledger.

`door` serves streamable HTTP at `/mcp` of a running server; `stdio` is a program of its own that relays to one.
"""
