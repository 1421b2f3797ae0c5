"""The engine's drivers: sessions on the clock of an event loop, and all that are under way."""
