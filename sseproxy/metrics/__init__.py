"""Which figures does an operator get, how are they added up over several workers, and how are they written?"""
