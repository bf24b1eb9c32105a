"""Commands in sandboxes of Vercel."""
