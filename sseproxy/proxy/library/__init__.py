"""The proxy inside another server: what `sseproxy.proxy.ReverseProxy` and `sseproxy.aiohttp.reverse_proxy` share."""
