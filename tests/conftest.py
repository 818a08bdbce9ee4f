"""What holds for all tests."""

from hypothesis import settings

# The machine of continuous integration may be busy: an example may take its time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
