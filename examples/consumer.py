#!/usr/bin/env python3
"""Follows the messages of gateways: drops repeats exactly and notices every loss, whatever topics it subscribes to.

    mosquitto_sub -h BROKER -q 1 -v -t 'fieldbeat/line-4/#' | python3 examples/consumer.py

Prints one line for each sample; with --count only the totals, at the end of the input. How the messages look:
README.md, "What it promises, and how".
"""

import json
import sys

newest = {}  # by stream (gateway, lane, group): boot and number of the newest sample
samples = repeats = losses = missing = 0


def on_sample(frame, tag, value):
    if "--count" not in sys.argv:
        print(frame["t"], tag, value, frame.get("status", "Good"))


def on_message(message):
    global samples, repeats, losses, missing
    stream = message["gateway"], message["lane"], message["group"]
    boot, last = message["boot"], newest.get(stream)
    before = message.get("prev_boot", boot), message["prev"]
    if last is not None and message["prev"] is not None and before > last:
        losses += 1
        print(f"lost on the way, of {stream}: all after {last} up to {before}", file=sys.stderr)
    is_new = last is None or (boot, message["frames"][0]["seq"]) > last
    if message.get("missing") and is_new:
        missing += message["missing"]
        print(f"lost at the gateway: {message['missing']} samples of lane {message['lane']}", file=sys.stderr)
    for frame in message["frames"]:
        for number, (tag, value) in enumerate(frame["values"].items(), frame["seq"]):
            if last is not None and (boot, number) <= last:
                repeats += 1
                continue
            last = boot, number
            samples += 1
            on_sample(frame, tag, value)
    newest[stream] = last


for line in sys.stdin:
    topic, _, payload = line.partition(" ")
    if payload.startswith('{"gateway"') and '"frames"' in payload:
        on_message(json.loads(payload))
if "--count" in sys.argv:
    print(f"samples {samples} repeats {repeats} losses {losses} missing {missing}")
