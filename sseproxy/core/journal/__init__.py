"""What is kept of a stream outside its connections, and where in it is a reader? Pure: no I/O, no clock."""
