"""What does the chain in front of an event stream do to it? (``sseproxy probe``)"""
