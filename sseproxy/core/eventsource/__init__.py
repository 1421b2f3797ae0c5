"""What is done for a browser's `EventSource`: the pure part."""
