"""A consumer as home automation and SCADA have it, on Eclipse Paho: state and set topics of single tags, discovery by the meta
topic. Reads a command a line, a list of JSON such as ["value", TOPIC], answers with a line of JSON.

    value TOPIC            -> [value, status, unit, retained] of the newest message, as a `value_template` takes it
    until TOPIC JSON       -> the same, once the value is this one
    set TOPIC PAYLOAD      -> the answer on the topic of answers
    meta TOPIC             -> {"revision", "tags": {name: {...}}, "groups", "links"} out of all parts
    bad TOPIC NAME...      -> the statuses of these tags, once all of them are told
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

port, protocol, answers = int(sys.argv[1]), sys.argv[2], sys.argv[3]
newest, answered, changed = {}, [], threading.Condition()


def on_message(_client, _data, message):
    with changed:
        newest[message.topic] = (message.payload, message.retain)
        if message.topic == answers:
            answered.append(json.loads(message.payload))
        changed.notify_all()


def wait(ready):
    with changed:
        if not changed.wait_for(ready, timeout=20):
            raise SystemExit(f"nothing of that kind came; there are {sorted(newest)}")
        return ready()


def state(topic):
    payload, retained = newest[topic]
    message = json.loads(payload)
    return [message["value"], message["status"], message.get("unit"), bool(retained)]


def parts(topic):
    """All parts of one revision, or nothing."""
    if topic not in newest:
        return None
    head = json.loads(newest[topic][0])
    whole = {"revision": head["revision"], "tags": {}, "groups": [], "links": []}
    for part in range(head["parts"]):
        payload = newest.get(f"{topic}/{part}", (b"", False))[0]
        found = json.loads(payload or b"{}")
        if found.get("revision") != head["revision"]:
            return None
        whole["tags"].update({tag["tag"]: tag for tag in found.get("tags", [])})
        whole["groups"] += found.get("groups", [])
        whole["links"] += found.get("links", [])
    return whole if len(whole["tags"]) == head["tags"] else None


def bad(topic, names):
    listed = json.loads(newest.get(topic, (b"{}", False))[0]).get("tags", [])
    statuses = {tag["tag"]: tag["status"] for tag in listed}
    return statuses if all(name in statuses for name in names) else None


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5 if protocol == "5" else mqtt.MQTTv311)
client.on_message = on_message
client.on_connect = lambda client, *_: client.subscribe("fieldbeat/#", 1)
client.connect("127.0.0.1", port)
client.loop_start()
for line in sys.stdin:
    command, topic, *rest = json.loads(line)
    if command == "value":
        wait(lambda: topic in newest)
        print(json.dumps(state(topic)), flush=True)
    elif command == "until":
        wait(lambda: topic in newest and state(topic)[0] == json.loads(rest[0]))
        print(json.dumps(state(topic)), flush=True)
    elif command == "set":
        before = len(answered)
        client.publish(topic, rest[0], qos=1)
        wait(lambda: len(answered) > before)
        print(json.dumps(answered[before]), flush=True)
    elif command == "meta":
        print(json.dumps(wait(lambda: parts(topic))), flush=True)
    elif command == "bad":
        print(json.dumps(wait(lambda: bad(topic, rest[0].split(" ") if rest else []))), flush=True)
