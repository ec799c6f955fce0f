#!/usr/bin/python3
"""Help that teaches, and wrong usage: exit code 2, a message that says what would be right, nothing
done."""

import cli


class Help(cli.Case):
    def test_overview(self):
        out, err = self.run_msaas("--help")
        self.assertEqual(err, "")
        self.assertIn("Examples:", out)
        self.assertRegex(out, r"(?m)^  separate +\S")
        self.assertEqual(self.run_msaas("help")[0], out)
        self.assertEqual(self.run_msaas(expect=2)[0], out)

    def test_of_a_command(self):
        out, err = self.run_msaas("separate", "--help")
        self.assertEqual(err, "")
        for part in ("Usage: msaas separate", "Examples:", "Options:", "--two-stems STEM",
                     "Exit code"):
            self.assertIn(part, out)
        self.assertEqual(self.run_msaas("help", "separate")[0], out)

    def test_version(self):
        self.assertRegex(self.run_msaas("--version")[0], r"^msaas \d+\.\d+\.\d+\n$")


class Usage(cli.Case):
    def refused(self, *arguments, says):
        out, err = self.run_msaas(*arguments, expect=2)
        self.assertEqual(out, "")
        self.assertIn(says, err)
        self.assertRegex(err, r"\Amsaas: [^\n]+ \(see msaas (separate )?--help\)\n\Z")
        self.assertFalse((self.folder / "separated").exists())

    def test_commands(self):
        self.refused("seperate", "x.mp3",
                     says='unknown command "seperate"; did you mean "separate"?')
        self.refused("--nonsense", says='unknown command "--nonsense"')

    def test_before_anything_is_opened(self):
        for arguments, says in [
            ([], "name at least one file"),
            (["--mp4", "x"], "did you mean --mp3?"),
            (["--mp3", "--flac", "x"], "exclude each other"),
            (["--int24", "--float32", "x"], "exclude each other"),
            (["--mp3", "--int24", "x"], "--int24 is for WAV and FLAC"),
            (["--flac", "--float32", "x"], "--float32 is for WAV"),
            (["--mp3-bitrate", "128", "x"], "needs --mp3"),
            (["--flac", "--mp3-preset", "3", "x"], "needs --mp3"),
            (["--flac", "--bitrate", "128", "x"], "flac has no bit rate to choose"),
            (["--mp3", "--bitrate", "64", "--mp3-bitrate", "64", "x"], "exclude each other"),
            (["--opus", "--bitrate", "511", "x"], "bitrate: must be from 12 to 510 for opus"),
            (["--lanes", "257", "x"], "--lanes: must be from 0 to 256"),
            (["--precision", "float16", "x"], "--precision: must be one of auto|float32|bf16"),
            (["--batch", "0", "x"], "--batch: must be from 1 to 64"),
            (["--stems", "bass", "--two-stems", "bass", "x"], "exclude each other"),
            (["--other-method", "minus", "x"], "needs --two-stems"),
            (["--quiet", "--verbose", "x"], "exclude each other"),
            (["--no-split", "--segment", "3", "x"], "exclude each other"),
            (["--filename", "{track}/{voice}.{ext}", "x"], "{voice}"),
        ]:
            with self.subTest(arguments=arguments):
                self.refused("separate", *arguments, says=says)

    def test_against_the_model(self):
        cli.make_wav(self.folder / "x.wav")
        for arguments, says in [
            (["--two-stems", "voice"], 'has no stem "voice"; it has drums, bass, other, vocals'),
            (["--stems", "bass,"], '"" is not a name'),
            (["--segment", "3000"], "takes at most 0.5 s"),
            (["--filename", "{track}.{ext}"], "must contain {stem}"),
            (["--device", "gpu"], "must be cpu, cuda or cuda:N"),
        ]:
            with self.subTest(arguments=arguments):
                self.refused("separate", *arguments, "x.wav", says=says)


if __name__ == "__main__":
    cli.main()
