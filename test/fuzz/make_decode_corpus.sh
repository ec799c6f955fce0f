#!/bin/sh
# Short files of every container and codec that the decoder takes, made by ffmpeg into the folder
# $1: seeds of the decode fuzz target and inputs of its replay.
set -eu
mkdir -p "$1"
cd "$1"
ffmpeg -v error -y -f lavfi -i sine=440:r=8000:d=0.12 -fflags +bitexact -flags +bitexact \
    -c:a pcm_s16le tone.wav -c:a pcm_f32le float.wav -c:a pcm_u8 tone.w64 -c:a pcm_s16be tone.aiff \
    -c:a pcm_s16be tone.caf -b:a 8k tone.mp3 tone.flac \
    -c:a libvorbis tone.ogg -c:a libopus tone.opus \
    -c:a aac tone.m4a -c:a alac alac.m4a \
    -c:a aac -movflags frag_keyframe+empty_moov fragmented.mp4 \
    -c:a wmav2 -ar 44100 tone.wma -c:a aac tone.aac -c:a libopus tone.webm \
    -c:a wavpack tone.wv -c:a aac tone.mka \
    -ar 32000 -c:a ac3 -b:a 32k tone.ac3 -metadata title=Tone -ac 2 -ar 44100 -b:a 32k tagged.mp3
head -c 100 tone.mp3 >stub.mp3
head -c 1500 tone.flac >stub.flac
