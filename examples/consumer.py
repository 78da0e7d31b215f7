#!/usr/bin/env python3
"""Follows the messages of gateways: drops repeats exactly and notices every loss, whatever topics it subscribes to.

    mosquitto_sub -h BROKER -q 1 -v -t 'fieldbeat/line-4/#' | python3 examples/consumer.py

Takes messages of groups (topic_per = "group") and of single tags (topic_per = "tag"; then with `mosquitto_sub -R`: a message that
the broker has retained may come before older ones that it still holds for this session). Prints one line for each sample; with
--count only the totals, at the end of the input. How the messages look: README.md, "What it promises, and how".
"""

import json
import sys

newest = {}  # by stream (gateway, lane, and what the messages are of): boot and number of the newest sample
samples = repeats = losses = missing = 0


def on_sample(time, tag, value, status):
    if "--count" not in sys.argv:
        print(time, tag, value, status)


def samples_of(message):
    """Each sample: its number, time, tag, value and status."""
    if "frames" not in message:
        yield message["seq"], message["time"], message["tag"], message["value"], message["status"]
        return
    for frame in message["frames"]:
        for number, (tag, value) in enumerate(frame["values"].items(), frame["seq"]):
            yield number, frame["t"], tag, value, frame.get("status", "Good")


def on_message(message):
    global samples, repeats, losses, missing
    stream = (message["gateway"], message["lane"], *(message.get(key) for key in ("group", "link", "tag")))
    boot, last = message["boot"], newest.get(stream)
    before = message.get("prev_boot", boot), message["prev"]
    if last is not None and message["prev"] is not None and before > last:
        losses += 1
        print(f"lost on the way, of {stream}: all after {last} up to {before}", file=sys.stderr)
    received = list(samples_of(message))
    # What was lost before a message repeats with it.
    is_new = last is None or (boot, received[0][0]) > last
    for number, *sample in received:
        if last is not None and (boot, number) <= last:
            repeats += 1
            continue
        last = boot, number
        samples += 1
        on_sample(*sample)
    if is_new and message.get("missing"):
        missing += message["missing"]
        print(f"lost at the gateway: {message['missing']} samples of lane {message['lane']}", file=sys.stderr)
    newest[stream] = last


for line in sys.stdin:
    topic, _, payload = line.partition(" ")
    if '"prev":' in payload and payload.startswith(('{"gateway"', '{"value"')):
        on_message(json.loads(payload))
if "--count" in sys.argv:
    print(f"samples {samples} repeats {repeats} losses {losses} missing {missing}")
