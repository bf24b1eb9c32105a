"""The door for programs that speak OpenAI's interface: any model of the gateway, as if this server were OpenAI."""
