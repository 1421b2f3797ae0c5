"""What outlives the connection of a client?"""
