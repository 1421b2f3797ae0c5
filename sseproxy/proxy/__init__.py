"""The reverse proxy: one shell around the pure core, on aiohttp's HTTP server."""
