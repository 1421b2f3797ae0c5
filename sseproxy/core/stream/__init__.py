"""What becomes of an event stream: the pure part of the engine."""
