import os

from hypothesis import settings

# Runs of a test have one thread, so that results of two commands can be compared to the last bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
