"""What HTTP messages say, as far as a proxy has to know: pure."""
