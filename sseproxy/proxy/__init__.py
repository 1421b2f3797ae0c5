"""The reverse proxy: one shell around the pure core, from the client's connection to the upstream's."""
