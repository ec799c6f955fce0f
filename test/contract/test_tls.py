#!/usr/bin/python3
"""The store on https: a private CA is trusted when it is named, and nobody vouches for the server
when it isn't. Usage: test_tls.py STORE_CONTRACT"""

import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import skip  # noqa: E402
from radosgw import Radosgw  # noqa: E402

STORE = sys.argv.pop(1)


class Tls(unittest.TestCase):
    def run_store(self, env):
        run = subprocess.run([STORE, "s3", "9"], env=env, capture_output=True, text=True,
                             timeout=300, check=False)
        return run.returncode, run.stdout + run.stderr

    def test_private_authority(self):
        with Radosgw(tls=True) as s3:
            env = s3.env()
            code, output = self.run_store(env)
            self.assertEqual(code, 0, output)
            self.assertIn("memory grew", output)  # it stored and fetched

            del env["AWS_CA_BUNDLE"]
            code, output = self.run_store(env)
            self.assertNotEqual(code, 0, output)
            self.assertIn("certificate", output)

            other = s3.folder / "other.pem"  # a file that is there, and holds no certificate
            other.write_text("none")
            code, output = self.run_store(env | {"AWS_CA_BUNDLE": str(other)})
            self.assertNotEqual(code, 0, output)


if __name__ == "__main__":
    if missing := Radosgw.missing():
        skip.whole(missing)
    unittest.main()
