"""What the proxy does for a browser's `EventSource`: tickets, other origins, the end."""
