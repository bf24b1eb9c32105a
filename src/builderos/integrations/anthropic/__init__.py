"""Anthropic's Messages interface behind OpenAI's words."""
