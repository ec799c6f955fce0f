#!/usr/bin/python3
"""Runs a test of the page with Node, or says why it cannot.

    run.py install     installs the modules, as package-lock.json says, into WEB_MODULES
    run.py FILE.mjs    runs the tests in FILE.mjs

CTest sets WEB_MODULES, a folder, and E2E_MSAAS and E2E_MAKE_MODEL.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))
import skip  # noqa: E402  (its folder was just added)

MANIFEST = ("package.json", "package-lock.json", ".npmrc")


def install(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in MANIFEST:
        shutil.copy(HERE / name, folder)
    done = subprocess.run(["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"],
                          cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(folder)
        skip.whole(f"npm cannot install playwright-core and axe-core: {done.stderr[-300:]}")


def main(what):
    for program in ("chromium", "node", "npm"):
        if shutil.which(program) is None:
            skip.whole(f"{program} is missing")
    folder = pathlib.Path(os.environ["WEB_MODULES"])
    if what == "install":
        return install(folder)
    if not (folder / "node_modules" / "playwright-core").is_dir():
        skip.whole("playwright-core is not installed: see the test web_modules")
    os.execvp("node", ["node", HERE / what])


main(sys.argv[1])
