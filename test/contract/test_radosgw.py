#!/usr/bin/python3
"""The S3 server of the tests leaves nothing behind, however its harness ends, and keeps its objects
over a fault."""

import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HARNESS = pathlib.Path(__file__).resolve().parents[1] / "tools" / "radosgw.py"
sys.path.insert(0, str(HARNESS.parent))
import skip  # noqa: E402
from radosgw import Radosgw  # noqa: E402

DEADLINE_S = 180


def users_of(folder):
    """Processes that were started with a path in that folder."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() + b"/" in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            pass  # it ended meanwhile
    return found


class Harness(unittest.TestCase):
    def check_gone(self, how):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, HARNESS, "sh", "-c", "echo up; exec cat"]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={"TMPDIR": folder, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            ) as harness:
                self.assertEqual(harness.stdout.readline(), b"up\n")
                self.assertGreaterEqual(len(users_of(folder)), 4)  # monitor, OSD, gateway, guard
                harness.send_signal(how)
                harness.stdin.close()
                harness.wait(DEADLINE_S)
            deadline = time.monotonic() + DEADLINE_S
            while (users_of(folder)
                   or list(pathlib.Path(folder).iterdir())) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual((users_of(folder), list(pathlib.Path(folder).iterdir())), ([], []))

    def test_killed(self):
        self.check_gone(signal.SIGKILL)

    def test_terminated(self):
        self.check_gone(signal.SIGTERM)

    def test_faults(self):
        with Radosgw() as one, Radosgw() as two:
            self.assertNotEqual(one.port, two.port)
            one.stop()
            with self.assertRaises(OSError):
                urllib.request.urlopen(one.endpoint, timeout=5)
            # an empty list, to nobody
            urllib.request.urlopen(two.endpoint, timeout=DEADLINE_S).close()
            one.start()
            urllib.request.urlopen(one.endpoint, timeout=DEADLINE_S).close()
            one.freeze()
            with self.assertRaises(OSError):
                urllib.request.urlopen(one.endpoint, timeout=1)
            one.thaw()
            urllib.request.urlopen(one.endpoint, timeout=DEADLINE_S).close()
            folders = [one.folder, two.folder]
        self.assertEqual([folder for folder in folders if folder.exists()], [])


if __name__ == "__main__":
    if missing := Radosgw.missing():
        skip.whole(missing)
    unittest.main()
