"""What the proxy does for a route whose streams are kept: who asks, which run it is, who reads it."""
