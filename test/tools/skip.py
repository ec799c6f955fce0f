"""How a test in Python says that it was skipped, or a part of it.

It ends with the status that CTest knows as "skipped", after a line for each part that scripts/test
looks for, as it shows what was skipped at its end.
"""

import sys
import unittest

STATUS = 77  # SKIP_RETURN_CODE in CMake


def tell(reason):
    print(f"skipped: {reason}", flush=True)


def whole(reason):
    """Ends this process: nothing was tested."""
    tell(reason)
    sys.exit(STATUS)


def main(argv):
    """unittest.main, with such an end where a test was skipped."""
    result = unittest.main(argv=argv, exit=False).result
    for test, reason in result.skipped:
        tell(f"{test.id().rpartition('.')[2]}: {reason}")
    sys.exit(not result.wasSuccessful() or (STATUS if result.skipped else 0))
