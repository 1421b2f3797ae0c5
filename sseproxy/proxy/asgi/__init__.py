"""What the proxy does inside an ASGI server: reads its scopes, receives bodies, and sends responses."""
