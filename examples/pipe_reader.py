#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Prints how loud somebody is, once a second:

    receiver ... --sink 'pipe:cmd=python3 examples/pipe_reader.py {user}'
"""
import array
import math
import sys

who = sys.argv[1] if len(sys.argv) > 1 else "?"
second = 0
while data := sys.stdin.buffer.read(2 * 48000):  # a second: s16le, one channel
    samples = array.array("h", data[: len(data) // 2 * 2])
    rms = math.sqrt(sum(s * s for s in samples) / max(len(samples), 1))
    print(f"{who} {second:5d} s {20 * math.log10(max(rms, 1) / 32768):6.1f} dB", flush=True)
    second += 1
