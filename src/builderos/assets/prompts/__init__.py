"""PromptOS: prompts as files with versions that never change, one registry for an organisation."""
