"""What a proxy has behind it: its upstreams, each Redis, its stores. For a process and for the library alike."""
