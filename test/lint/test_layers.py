#!/usr/bin/python3
"""scripts/lint-layers finds each kind of violation when one is planted, and is content with a house in order."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

LINTER = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "lint-layers"
HOUSE = {
    "include/msaas/err.h": "",
    "include/msaas/audio.h": '#include "msaas/err.h"\n',
    "include/msaas/separate.h": '#include "msaas/err.h"\n',
    "include/msaas/pipeline.h": '#include "msaas/audio.h"\n#include "msaas/separate.h"\n',
    "src/base/err.c": '#include "msaas/err.h"\n#include <stdio.h>\n#include <sys/types.h>\n',
    "src/base/json.c": "#include <cjson/cJSON.h>\n",
    "src/audio/inner.h": "",
    "src/audio/decode.c": '#include "inner.h"\n#include "msaas/audio.h"\n#include <libavformat/avformat.h>\n',
    "src/separate/separate.c": '#include "msaas/separate.h"\n',
    "src/tensor/tensor.cpp": "#include <torch/torch.h>\n#include <vector>\n",
    "src/worker/pipeline.c": '#include "msaas/pipeline.h"\n',
    "src/http/server.c": '#include "msaas/err.h"\n',
    "src/cmd/separate.c": '#include "msaas/pipeline.h"\n',
    "src/main.c": '#include "msaas/err.h"\n',
}


class Layers(unittest.TestCase):
    def lint(self, **planted):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**HOUSE, **planted.get("files", {})}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            run = subprocess.run([sys.executable, LINTER, root], capture_output=True, text=True, check=False)
            self.assertEqual(run.stderr, "")
            return run.returncode, run.stdout

    def test_house_in_order(self):
        self.assertEqual(self.lint(), (0, ""))

    def test_violations(self):
        for name, text in [
            ("src/base/log.c", '#include "msaas/audio.h"\n'),  # to the right
            ("src/demucs/model.c", '#include "msaas/audio.h"\n'),  # beside it, on the same layer
            ("src/worker/work.c", '#include "http/server.h"\n'),
            ("src/http/page.c", '#include "msaas/separate.h"\n'),  # to its left, but never for http
            ("src/cmd/bench.c", '#include "audio/inner.h"\n'),  # another room's inner header
            ("src/cmd/bench.c", '#  include "../audio/inner.h"\n'),
            ("src/base/json2.c", "#include <cjson/cJSON.h>\n"),  # a second user of a library
            ("src/cmd/model.c", "#include <libavutil/log.h>\n"),
            ("src/base/zip.c", "#include <zlib.h>\n"),  # a library that nobody listed
            ("src/attic/old.c", ""),  # a room that has no place
            ("include/msaas/err.h", '#include "msaas/audio.h"\n'),  # a contract that reaches to the right
            ("include/msaas/orphan.h", ""),  # a contract that nobody implements
        ]:
            with self.subTest(name=name, text=text):
                files = {name: text, "src/http/server.h": ""}
                code, output = self.lint(files=files)
                self.assertEqual(code, 1)
                self.assertTrue(output.startswith(name), output)
                self.assertEqual(output.count("\n"), 1, output)


if __name__ == "__main__":
    unittest.main()
