#!/usr/bin/python3
"""Runs a test of the page with Node, or says why it cannot.

    run.py install     installs the modules, as package-lock.json says, into WEB_MODULES
    run.py FILE.mjs    runs the tests in FILE.mjs
    run.py units       the types of the page, and the tests of what of it needs no browser

CTest sets WEB_MODULES, a folder, WEB_UNITS, another one, and E2E_MSAAS and E2E_MAKE_MODEL.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "src" / "web"
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


def units():
    modules = PAGE / "node_modules"
    if not (modules / ".msaas-lock").is_file():
        skip.whole("the page's packages are missing: CMake says why")
    for command in ([modules / ".bin" / "tsc"], [modules / ".bin" / "tsc", "-p", "test"],
                    ["node", "test/run.mjs", os.environ["WEB_UNITS"]]):
        done = subprocess.run(command, cwd=PAGE, check=False)
        if done.returncode != 0:
            sys.exit(1)


def main(what):
    needed = ("node", "npm") if what == "units" else ("chromium", "node", "npm")
    for program in needed:
        if shutil.which(program) is None:
            skip.whole(f"{program} is missing")
    if what == "units":
        return units()
    folder = pathlib.Path(os.environ["WEB_MODULES"])
    if what == "install":
        return install(folder)
    if not (folder / "node_modules" / "playwright-core").is_dir():
        skip.whole("playwright-core is not installed: see the test web_modules")
    os.execvp("node", ["node", HERE / what])


main(sys.argv[1])
