"""The pure part: policies and state machines that do no I/O and read no clock."""
