#!/usr/bin/python3
"""scripts/deploy-local-dev, on a stand-in for kubectl that notes what it is asked: there is no
cluster to be had here. That its manifests are sound is checked elsewhere, with the real kubectl and
Kubernetes' schemas."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_S = 300
KUBECTL = """#!/bin/bash
printf '%s\\n' "$*" >>"$LOG"
case "$*" in
'config current-context') [[ -n $CONTEXT ]] && echo "$CONTEXT" ;;
'get namespace '*) [[ -e $LOG.namespace ]] ;;
'create namespace '*) touch "$LOG.namespace" ;;
*port-forward*) [[ -z $TAKEN ]] && exec sleep 600 ;;
esac
"""


class LocalDev(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = pathlib.Path(folder.name, "asked")
        kubectl = pathlib.Path(folder.name, "kubectl")
        kubectl.write_text(KUBECTL, encoding="ascii")
        kubectl.chmod(0o755)
        self.environment = os.environ | {"PATH": f"{folder.name}:{os.environ['PATH']}",
                                         "LOG": str(self.log), "CONTEXT": "kind-kind", "TAKEN": ""}

    def start(self, *arguments):
        return subprocess.Popen(
            [ROOT / "scripts/deploy-local-dev", *arguments], env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            # whoever runs the tests in the background ignores it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run_to_the_end(self, *arguments):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out, err

    def asked(self):
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def test_forwards_until_it_is_stopped(self):
        process = self.start()
        out = ""
        while "Ctrl-C ends" not in out and (line := process.stdout.readline()):
            out += line
        until = time.monotonic() + DEADLINE_S
        while sum("port-forward" in line for line in self.asked()) < 2 and time.monotonic() < until:
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 130)
        asked = "\n".join(self.asked())
        self.assertIn("create namespace msaas-dev", asked)
        self.assertIn(f"-n msaas-dev apply -f {ROOT}/deploy/local-dev.yaml", asked)
        for ports in ("6379:6379", "9000:9000"):
            self.assertRegex(asked, f"port-forward --address 127.0.0.1 service/[a-z0-9]+ {ports}")
        self.assertIn("MINIO_HOST=localhost:9000", out)

    def test_a_forward_that_breaks_is_told(self):
        self.environment["TAKEN"] = "1"
        code, _, err = self.run_to_the_end()
        self.assertEqual(code, 1)
        self.assertIn("port", err)

    def test_stop_takes_away_only_what_it_brought(self):
        code, _, _ = self.run_to_the_end("--stop", "--namespace", "default")
        self.assertEqual(code, 0)
        deleted = [line for line in self.asked() if "delete" in line]
        self.assertEqual(len(deleted), 2)
        self.assertIn(f"-n default delete -f {ROOT}/deploy/local-dev.yaml", deleted[0])
        self.assertIn("-l app.kubernetes.io/managed-by=msaas-local-dev", deleted[1])
        self.assertNotIn("delete namespace default", "\n".join(deleted))

    def test_refuses_politely(self):
        for arguments, text in ((("--what",), "--what"),
                                (("--namespace",), "--namespace needs a name")):
            code, _, err = self.run_to_the_end(*arguments)
            self.assertNotEqual(code, 0)
            self.assertIn(text, err)
        self.environment["CONTEXT"] = ""
        code, _, err = self.run_to_the_end()
        self.assertEqual(code, 1)
        self.assertIn("no current context", err)
        self.environment["PATH"] = "/usr/bin:/bin"
        code, _, err = self.run_to_the_end()
        if "kubectl" in err:  # where the machine has one of its own, that is asked
            self.assertEqual(code, 1)


if __name__ == "__main__":
    unittest.main()
