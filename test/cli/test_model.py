#!/usr/bin/python3
"""`msaas model` and `msaas bench`: what they tell, to eyes and to programs, and how they end."""

import json
import shutil

import cli


class Models(cli.Case):
    def setUp(self):
        super().setUp()
        self.here = self.folder / "models"
        shutil.copytree(self.models, self.here)
        for name in ("another.json", "broken.json"):
            (self.here / name).write_text("no model", encoding="ascii")

    def model(self, *arguments, expect=0):
        return self.run_msaas("model", *arguments, "--models-dir", self.here, expect=expect)

    def test_a_bad_model_does_not_keep_the_others_from_being_checked(self):
        for names in ([], ["another", "missing", "tiny"]):
            with self.subTest(names=names):
                out, err = self.model("verify", *names, expect=1)
                self.assertEqual(out, "tiny: good\n")
                self.assertIn("another.json: not valid JSON", err)
                self.assertIn("'missing'" if names else "broken.json: not valid JSON", err)
        self.assertEqual(self.model("verify", "tiny", "-q"), ("", ""))

    def test_json(self):
        out, _ = self.model("verify", "--json", expect=1)
        verdicts = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([verdict["good"] for verdict in verdicts], [False, False, True])
        self.assertEqual((verdicts[2]["model"], verdicts[2]["message"]), ("tiny", None))
        self.assertIn("not valid JSON", verdicts[0]["message"])
        models = [json.loads(line) for line in self.model("list", "--json")[0].splitlines()]
        self.assertEqual((models[0]["name"], models[0]["installed"]), ("tiny", True))
        self.assertIn(("htdemucs", False),
                      [(model["name"], model["installed"]) for model in models])

    def test_wrong_usage(self):
        for arguments, says in [
            ([], "name an action"),
            (["frob"], 'unknown action "frob"'),
            (["verify", "--name", "x"], "--name is for model import only"),
            (["list", "--url", "http://127.0.0.1/"], "--url is for model pull only"),
        ]:
            with self.subTest(arguments=arguments):
                out, err = self.model(*arguments, expect=2)
                self.assertEqual(out, "")
                self.assertIn(says, err)

    def test_a_full_standard_output(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            _, err = self.run_msaas("model", "list", stdout=full, expect=1)
        self.assertIn("standard output: No space left", err)


class Bench(cli.Case):
    def test_json(self):
        out, _ = self.run_msaas("bench", "--json", "--segments", 3, "--lanes", 2)
        figures = json.loads(out)
        self.assertEqual((figures["lanes"], figures["segments"], figures["precision"]),
                         (2, 3, "float32"))
        for name in ("effective_seconds_per_segment", "median_seconds_per_forward", "peak_rss_mb"):
            self.assertGreater(figures[name], 0)
        self.assertEqual(
            list(figures["stages"]),
            ["decode", "stft", "encoders", "transformer", "decoders", "istft", "encode"]
        )
        for name in ("cpu", "libtorch"):
            self.assertTrue(figures[name])

    def test_precision(self):
        for precision in ("float32", "bf16"):
            arguments = ("bench", "--segments", 1, "--lanes", 1, "--precision", precision)
            self.assertEqual(json.loads(self.run_msaas(*arguments, "--json")[0])["precision"],
                             precision)
            self.assertIn(f" on 1 lane, batch 1, {precision}, libtorch ",
                          self.run_msaas(*arguments)[0])
    def test_whole_batches(self):
        out, _ = self.run_msaas("bench", "--json", "--segments", 3, "--lanes", 1, "--batch", 2)
        figures = json.loads(out)
        self.assertEqual((figures["batch"], figures["segments"]), (2, 4))
        out, _ = self.run_msaas("bench", "--segments=1", "--lanes=1", "--batch=2")
        self.assertIn("tiny, 2 segments of 0.5 s on 1 lane, batch 2, float32", out)


if __name__ == "__main__":
    cli.main()
