#!/bin/bash
# What the decoder's process says to each of the songs in $2, into the folder $3. $1: a program that
# decodes.
set -eu
mkdir -p "$3"
for song in "$2"/*; do
    (exec -a msaas-decode "$1" 8000 <"$song") | cat >"$3/${song##*/}"
done
