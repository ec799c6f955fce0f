#!/usr/bin/python3
"""scripts/lint-layers finds each kind of violation that is planted, and none in a sound house."""

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
    "include/msaas/url.h": "",
    "src/base/url.c": "",
    "src/base/json.c": "#include <cjson/cJSON.h>\n",
    "src/audio/inner.h": "",
    "src/audio/decode.c": '#include "inner.h"\n#include "msaas/audio.h"\n'
                          "#include <libavformat/avformat.h>\n",
    "src/separate/separate.c": '#include "msaas/separate.h"\n',
    "src/tensor/tensor.cpp": "#include <torch/torch.h>\n#include <vector>\n",
    "src/song/pipeline.c": '#include "msaas/pipeline.h"\n',
    "src/http/server.c": '#include "server.h"\n#include "msaas/err.h"\n'
                         "int ms_server_run(void) {\n}\n",
    "src/http/server.h": "",
    "src/http/route.c": "void ms_route(int a,\n              int b) {\n    ms_log(1);\n}\n",
    "src/cmd/cmd_separate.c": '#include "msaas/pipeline.h"\n',
    "src/main.c": '#include "msaas/err.h"\n',
}


class Layers(unittest.TestCase):
    def lint(self, **planted):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**HOUSE, **planted.get("files", {})}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            run = subprocess.run([sys.executable, LINTER, root], capture_output=True, text=True,
                                 check=False)
            self.assertEqual(run.stderr, "")
            return run.returncode, run.stdout

    def test_house_in_order(self):
        self.assertEqual(self.lint(), (0, ""))

    def test_violations(self):
        for name, text in [
            ("src/base/log.c", '#include "msaas/audio.h"\n'),  # upwards
            ("src/demucs/model.c", '#include "msaas/audio.h"\n'),  # below, but never for demucs
            ("src/worker/work.c", '#include "http/server.h"\n'),
            ("src/api/page.c", '#include "msaas/separate.h"\n'),  # below, but never for api
            ("src/cmd/bench.c", '#include "audio/inner.h"\n'),  # another room's inner header
            ("src/cmd/bench.c", '#  include "../audio/inner.h"\n'),
            ("src/base/json2.c", "#include <cjson/cJSON.h>\n"),  # a second user of a library
            ("src/cmd/model.c", "#include <libavutil/log.h>\n"),
            ("src/base/zip.c", "#include <zlib.h>\n"),  # a library that is not listed
            ("src/attic/old.c", ""),  # a room that is not listed
            ("include/msaas/url.h", '#include "msaas/audio.h"\n'),  # a contract, upwards
            ("include/msaas/orphan.h", ""),  # a contract without a source
            ("src/worker/server.c", ""),  # another room's name
            ("src/base/err.h", ""),  # a public header's name
            ("src/http/server.h", '#include "route.h"\n'),  # a circle of headers, see below
            # a circle of calls, see below
            ("src/http/route.c", "int ms_route(void) {\n    return ms_server_run() + 1;\n}\n"),
        ]:
            with self.subTest(name=name, text=text):
                files = {"src/http/route.h": '#include "server.h"\n', name: text}
                if name == "src/http/route.c":
                    files["src/http/server.c"] = (
                        "int ms_server_run(void) {\n    return ms_route();\n}\n")
                code, output = self.lint(files=files)
                self.assertEqual(code, 1)
                self.assertIn(pathlib.PurePath(name).stem, output)
                self.assertEqual(output.count("\n"), 1, output)


if __name__ == "__main__":
    unittest.main()
