"""What did the operator ask for? From YAML, environment and command line to one frozen `Config`."""
