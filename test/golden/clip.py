#!/usr/bin/python3
"""clip.py FILE.wav: writes the synthetic song that the reference was computed from (44.1 kHz,
stereo, 16 bit, 9.5 s).

Four players, so that every stem has something to find: a drum kit of swept sines and noise, a bass
of filtered sawteeth, plucked chords (Karplus-Strong) and a voice of glottal pulses through vowel
formants with vibrato. The same bytes on every machine: noise comes from an integer generator,
everything is float64 rounded to 16 bits.
"""

import sys
import wave

import numpy as np

RATE = 44100
FRAMES = int(9.5 * RATE)  # two segments; the second one reaches back into the first
BEAT = RATE * 60 // 112  # frames


def noise(seed, count):
    """Uniform in [-1, 1): 64-bit linear congruential steps, jumped to all at once."""
    steps = np.arange(1, count + 1, dtype=np.uint64)
    mixed = (steps + np.uint64(seed * 2654435761)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def resonate(signal, hz, width_hz):
    """A two-pole resonator with unit gain at its centre."""
    radius = np.exp(-np.pi * width_hz / RATE)
    a1, a2 = 2 * radius * np.cos(2 * np.pi * hz / RATE), -radius * radius
    out, y1, y2 = [], 0.0, 0.0
    gain = (1 - radius) * np.sqrt(1 - 2 * radius * np.cos(4 * np.pi * hz / RATE) + radius * radius)
    for x in signal.tolist():
        y = gain * x + a1 * y1 + a2 * y2
        out.append(y)
        y1, y2 = y, y1
    return np.array(out)


def low_pass(signal, hz):
    keep = np.exp(-2 * np.pi * hz / RATE)
    out, y = [], 0.0
    for x in signal.tolist():
        y = (1 - keep) * x + keep * y
        out.append(y)
    return np.array(out)


def note_hz(semitones_from_a4):
    return 440.0 * 2.0 ** (semitones_from_a4 / 12)


def add(track, at, sound, left=1.0, right=1.0):
    sound = sound[: max(0, track.shape[1] - at)]
    track[0, at : at + len(sound)] += left * sound
    track[1, at : at + len(sound)] += right * sound


def drums():
    track = np.zeros((2, FRAMES))
    t = np.arange(RATE // 3) / RATE
    kick = np.sin(2 * np.pi * (48 * t + 7 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.12)
    snare = noise(1, len(t)) * np.exp(-t / 0.07)
    snare = snare + 0.6 * np.sin(2 * np.pi * 190 * t) * np.exp(-t / 0.05)
    for beat in range(FRAMES // BEAT + 1):
        at = beat * BEAT
        add(track, at, (0.9 * kick) if beat % 2 == 0 else (0.45 * snare))
        for half in range(2):
            hiss = np.diff(noise(100 + 2 * beat + half,
                                 len(t) // 3 + 1)) * np.exp(-t[: len(t) // 3] / 0.02)
            add(track, at + half * BEAT // 2, 0.16 * hiss, 0.7, 1.0)
    return track


def bass(chords):
    track = np.zeros((2, FRAMES))
    t = np.arange(BEAT) / RATE
    for beat in range(FRAMES // BEAT + 1):
        hz = note_hz(chords[beat // 4 % len(chords)][0] - 24) * (1.5 if beat % 4 == 3 else 1.0)
        saw = 2 * ((hz * t) % 1.0) - 1
        add(track, beat * BEAT,
            0.5 * low_pass(low_pass(saw, 500), 700) * np.minimum(1, t / 0.005) * np.exp(-t / 0.5))
    return track


def pluck(hz, seed, frames):
    period = int(RATE / hz)
    line = noise(seed, period)
    out = []
    while len(out) < frames:
        out.extend(line.tolist())
        line = 0.498 * (line + np.roll(line, -1))
    return np.array(out[:frames])


def chords_played(chords):
    track = np.zeros((2, FRAMES))
    for half in range(2 * FRAMES // BEAT):
        for string, semitones in enumerate(chords[half // 8 % len(chords)]):
            sound = pluck(note_hz(semitones), 1000 + 10 * half + string, BEAT)
            add(track, half * BEAT // 2 + 300 * string, 0.13 * sound, 1.0 - 0.2 * string,
                0.5 + 0.2 * string)
    return track


VOWELS = {
    "a": ((730, 90, 1.0), (1090, 110, 0.5), (2440, 170, 0.25)),
    "i": ((270, 60, 1.0), (2290, 150, 0.35), (3010, 200, 0.2)),
    "o": ((570, 80, 1.0), (840, 100, 0.5), (2410, 170, 0.1)),
}


def voice(melody):
    track = np.zeros((2, FRAMES))
    at = BEAT
    for beats, semitones, vowel in melody:
        frames = int(beats * BEAT)
        t = np.arange(frames) / RATE
        vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.3)
        phase = np.cumsum(note_hz(semitones) * vibrato) / RATE
        glottis = (1 - (phase % 1.0)) ** 6 - 1 / 7 + 0.02 * noise(5000 + at, frames)
        sound = sum(weight * resonate(glottis, hz, width) for hz, width, weight in VOWELS[vowel])
        shape = np.minimum(1, t / 0.06) * np.minimum(1, (t[-1] - t) / 0.08)
        add(track, at, 1.5 * sound * shape, 1.0, 0.95)
        at += frames
    return track


def song():
    chords = [(-12, -5, -8), (-16, -9, -12), (-14, -7, -10), (-17, -10, -13)]
    melody = [(1.5, 0, "a"), (0.5, 2, "i"), (2, 3, "o"), (1, 7, "a"), (1, 5, "i"), (2, 3, "a"),
              (1.5, 2, "o")]
    melody += [(0.5, 3, "i"), (2, 0, "a"), (2, -2, "o"), (2, 0, "a")]
    return [drums(), bass(chords), chords_played(chords),
            voice([(b, s - 9, v) for b, s, v in melody])]


def main():
    mix = np.round(np.clip(0.55 * sum(song()), -1, 1) * 32767).astype("<i2")
    with wave.open(sys.argv[1], "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(mix.T.tobytes())


if __name__ == "__main__":
    main()
