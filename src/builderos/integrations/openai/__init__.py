"""Anything that speaks OpenAI's interface: OpenAI itself, gateways, servers on this machine."""
