"""Whatever a stranger makes of /openapi.json is answered as it says, and never with a 5xx: on both
pairs of backends, with requests that Schemathesis makes. CONTRACT_REQUESTS: so many in all."""

import json
import os
import pathlib
import subprocess
import sys
import venv

import pytest
from harness import DEADLINE_S, wait_for, wav

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements" / "contract.txt"
REQUESTS = int(os.environ.get("CONTRACT_REQUESTS", "900"))
FINISHED = 4


@pytest.fixture(scope="module")
def python():
    """An environment with Schemathesis, made anew when its requirements change."""
    folder = pathlib.Path(os.environ.get("CONTRACT_VENV", "build/contract-venv"))
    stamp = folder / "requirements.txt"
    program = folder / "bin" / "python"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=True)
        done = subprocess.run([program, "-m", "pip", "install", "--quiet",
                               "--disable-pip-version-check", "-r", REQUIREMENTS],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"Schemathesis cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted, encoding="utf-8")
    return program


def test_the_contract_holds(site, python, tmp_path):
    """The worker ends before: it would call the addresses that are made up."""
    site.serve("--max-song-mb", "1")
    worker = site.work()
    finished = [site.submit(wav(tone=n + 1), stems="bass")["id"] for n in range(FINISHED)]
    for ident in finished:
        site.finished(ident)
    worker.terminate()
    wait_for("the worker's end", lambda: not worker.running())
    waiting = [site.submit(wav(tone=n + 20), stems="bass")["id"] for n in range(FINISHED)]
    jobs = tmp_path / "jobs.json"
    jobs.write_text(json.dumps({"finished": finished, "expendable": waiting}), encoding="utf-8")
    done = subprocess.run([python, "-W", "ignore", HERE / "fuzz_contract.py", site.url,
                           str(REQUESTS // 2), "1", jobs], env=site.environment(), text=True,
                          capture_output=True, timeout=max(DEADLINE_S, REQUESTS), check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert site.get("/healthz").status_code == 200, sys.executable
