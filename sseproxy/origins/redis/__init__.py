"""How does a message that is published in Redis reach the clients that wait for it?"""
