"""One process or several: sockets, signals, administration."""
