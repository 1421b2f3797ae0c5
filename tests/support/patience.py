"""For how long does a test wait for what has to come?"""

#: Seconds. Far above what anything takes on a machine with twice as many busy processes as cores, where a process may
#: need twenty seconds to start. Only a test that fails waits for so long.
LIMIT = 60.0
