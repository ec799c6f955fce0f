#!/usr/bin/python3
"""test_readme.py MSAAS README: the table of options in the README is the one that the program prints."""

import difflib
import pathlib
import re
import subprocess
import sys

printed = subprocess.run([sys.argv[1], "help", "--markdown"], capture_output=True, text=True, check=True).stdout
written = re.search(
    r"<!-- options:begin -->\n(.*)<!-- options:end -->", pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"), re.S
)[1]
changes = list(difflib.unified_diff(written.splitlines(), printed.splitlines(), "README.md", "help --markdown", n=0))
if changes:
    print("Put what `msaas help --markdown` prints between the marks in README.md:", *changes, sep="\n")
sys.exit(bool(changes))
