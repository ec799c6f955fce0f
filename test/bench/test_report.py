#!/usr/bin/python3
"""test_report.py: table and picture of scripts/bench say what its figures say. No peers needed."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import report

CPU = "A<B> & C(R) D8 processor E9 7890X @ 2.70GHz"
SVG = "{http://www.w3.org/2000/svg}"


def run(what, peer, precision, form, seconds, memory_mb):
    names = ("what", "peer", "precision", "form", "seconds", "memory_mb")
    values = (what, peer, precision, form, seconds, memory_mb)
    return dict(zip(names, values)) | {"load": 2.1}


FIGURES = {
    "date": "2026-01-02",
    "machine": {"cpu": CPU, "vectors": "AVX-512 with bf16", "cpus": [0, 2], "cpu_count": 4},
    "versions": {
        "openvino": "2026.4.1",
        "onnxruntime": "1.32.0",
        "torch": "2.15.0",
        "demucs": "4.1.0",
        "msaas": "0.1.0",
    },
    "rounds": 3,
    "segments": 8,
    "song": {"name": "song.ogg", "seconds": 130.4},
    "left_out": {"network, PyTorch, bf16": "No matching distribution"},
    "runs": [
        # Medians, not means: 9.0 and 900 are somebody else's compiler.
        *(
            run("network", "openvino", "float32", "2 x 1", *m)
            for m in ((2, 700), (9, 900), (2.4, 800))
        ),
        # The faster way of two counts.
        run("network", "openvino", "float32", "1 x 2", 3.0, 400),
        run("network", "openvino", "bf16", "1 x 2", 1.2, 350),
        run("network", "torch", "float32", "1 x 2", 3.2, 1600),
        run("network", "onnxruntime", "float32", "2 x 1", 2.8, 9706),
        run("network", "msaas", "float32", "2 lanes", 1.6, 750),
        run("network", "msaas", "bf16", "2 lanes", 0.8, 650),
        run("song", "demucs", "float32", "as it comes", 94.0, 2050),
        run("song", "msaas", "float32", "2 lanes", 47.0, 800),
        run("song", "msaas", "bf16", "2 lanes", 23.5, 700),
    ],
    "quality": [
        {
            "precision": "bf16",
            "against": "the reference implementation, 4 clips",
            "snr_db": 39.94,
            "quiet_dbfs": None,
            "error": 0.00123,
            "good": False,
        }
    ],
}


class Table(unittest.TestCase):
    def setUp(self):
        self.lines = report.markdown(FIGURES).splitlines()

    def row(self, start):
        found = [line for line in self.lines if line.startswith(start)]
        self.assertEqual(len(found), 1, f"{start}: {self.lines}")
        return [cell.strip() for cell in found[0].strip("|").split("|")][1:]

    def test_medians_of_the_fastest_form_and_speeds(self):
        self.assertEqual(
            self.row("| OpenVINO 2026.4.1, network only"),
            ["2.40 s (2 x 1)", "800 MB", "1.50 x", "1.20 s (1 x 2)", "350 MB", "1.50 x"],
        )

    def test_what_is_missing_stays_empty(self):
        torch = self.row("| PyTorch 2.15.0 |")
        self.assertEqual(torch, ["3.20 s (1 x 2)", "1600 MB", "2.00 x", "", "", ""])

    def test_msaas_beside_the_fastest(self):
        network, song = (line for line in self.lines if line.startswith("| **msaas 0.1.0**"))
        self.assertIn("1.60 s (2 lanes) | 750 MB | **1.50 x the fastest**", network)
        self.assertIn("0.80 s (2 lanes) | 650 MB | **1.50 x the fastest**", network)
        self.assertIn("23.5 s (2 lanes) | 700 MB | **4.00 x the fastest float32**", song)

    def test_gate_machine_and_what_was_left_out(self):
        self.assertEqual(self.row("| bf16 |")[1:], ["39.9 dB", "", "1.2e-03", "BROKEN"])
        text = "\n".join(self.lines)
        for part in (f"**{CPU}**", "processors 0, 2", "a song of 130 s to four MP3"):
            self.assertIn(part, text)
        self.assertIn("- Left out: network, PyTorch, bf16: No matching distribution", self.lines)

    def test_other_work_is_told(self):
        self.assertNotIn("Disturbed", "\n".join(self.lines))
        figures = copy.deepcopy(FIGURES)
        figures["runs"][3]["load"] = 6.25
        self.assertIn("load before a run was up to 6.2.", report.markdown(figures))

    def test_tables_are_tables(self):
        for block in "\n".join(self.lines).split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            self.assertLessEqual(len({row.count("|") for row in rows}), 1, block)

    def test_msaas_alone(self):
        figures = copy.deepcopy(FIGURES) | {"song": None, "quality": []}
        figures["runs"] = [run("network", "msaas", "float32", "2 lanes", 1.6, 750)]
        self.assertIn("| **msaas 0.1.0** | 1.60 s (2 lanes) | 750 MB |", report.markdown(figures))
        xml.etree.ElementTree.fromstring(report.svg(figures))


class Picture(unittest.TestCase):
    def setUp(self):
        self.root = xml.etree.ElementTree.fromstring(report.svg(FIGURES))
        self.texts = list(self.root.iter(SVG + "text"))
        rects = self.root.iter(SVG + "rect")
        self.bars = [rect for rect in rects if rect.get("class") in report.PRECISIONS]

    def test_bars_are_as_long_as_their_figures(self):
        x = str(report.PANELS[0][1])
        seconds = [float(bar.get("width")) for bar in self.bars if bar.get("x") == x]
        longest = report.BAR_WIDTH
        network = [longest * s / 3.2 for s in (2.4, 1.2, 3.2, 2.8, 1.6, 0.8)]
        song = [longest * s / 94 for s in (94, 47, 23.5)]
        self.assertEqual(len(seconds), 9)
        for got, expected in zip(seconds, network + song):
            self.assertAlmostEqual(got, expected, delta=0.06)
        self.assertEqual(len(self.bars), 2 * 9 + 2)  # memory, and the legend

    def test_nothing_lies_outside_or_over_other_things(self):
        _, _, width, height = map(float, self.root.get("viewBox").split())
        boxes = []  # left, right, baseline, text
        for text in self.texts:
            x, letter = float(text.get("x")), 8.4 if text.get("class") == "title" else 7.1
            boxes.append((x, x + letter * len(text.text), float(text.get("y")), text.text))
        for bar in self.bars:
            x, baseline = float(bar.get("x")), float(bar.get("y")) + report.BAR_HEIGHT - 4
            boxes.append((x, x + float(bar.get("width")), baseline, f"bar at {baseline}"))
        for left, right, y, text in boxes:
            self.assertLess(right, width, text)
            self.assertLess(y, height, text)
            for left2, right2, y2, text2 in boxes:
                if text2 is not text and abs(y - y2) < 10:
                    self.assertTrue(right < left2 or right2 < left, f"{text} over {text2}")

    def test_says_every_figure_and_name(self):
        said = {text.text for text in self.texts}
        for part in ("2.40", "1.20", "0.80", "94", "24", "2050", "650", "msaas 0.1.0", "bf16"):
            self.assertIn(part, said)
        self.assertTrue(any(CPU in text for text in said))

    def test_dark_has_a_colour_for_each_class(self):
        light, dark = self.root.find(SVG + "style").text.split(
            "@media (prefers-color-scheme: dark)"
        )
        for name in ("text", ".head", ".paper", ".float32", ".bf16"):
            self.assertIn(f"{name} {{", light)
            self.assertIn(f"{name} {{", dark)


class ByHand(unittest.TestCase):
    def test_draws_again_from_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            figures, picture = (pathlib.Path(folder) / name for name in ("f.json", "p.svg"))
            figures.write_text(json.dumps(FIGURES), encoding="utf-8")
            done = subprocess.run(
                [sys.executable, report.__file__, figures, picture],
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual(done.stdout.rstrip("\n"), report.markdown(FIGURES))
            self.assertEqual(picture.read_text(encoding="utf-8"), report.svg(FIGURES))


if __name__ == "__main__":
    unittest.main()
