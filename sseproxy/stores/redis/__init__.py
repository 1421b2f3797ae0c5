"""How does sseproxy talk to Redis: alone, behind Sentinel, as a cluster, over TLS or a unix socket?"""
