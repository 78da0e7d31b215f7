# CANopen: vcan2 is this part's own.
#
#   canopen.rig   what a master of the package canopen saw of a node of the same package, as JSON

can_up vcan2

keep canopen.rig python3 /peers/canopen_rig.py vcan2

# Fieldbeat as the master of a node of the package canopen, on an interface of its own.
#
#   canopen.log     a run of the gateway: the node is set up, has an emergency, is cut off and comes back
#   canopen.node    what the node saw, as JSON
#   canopen.tail    what the journal has
can_up vcan3
mkdir -p canopen/tags
cat >canopen/fieldbeat.toml <<'TOML'
[gateway]
id = "canopen"
[journal]
path = "journal"
[metrics]
listen = "127.0.0.1:0"
TOML
cat >canopen/tags/co.json <<'JSON'
{"links": [{"name": "co", "protocol": "canopen", "interface": "vcan3", "timeout_ms": 1000,
            "nodes": [{"id": 5, "heartbeat_ms": 500}]}],
 "tags": [
  {"name": "temperature", "address": "co:5:0x2000:0", "data_type": "int16", "scan_rate_ms": 200},
  {"name": "name", "address": "co:5:0x1008:0", "data_type": "string", "scan_rate_ms": 500},
  {"name": "emergency", "address": "co:5:emcy", "scan_rate_ms": 200},
  {"name": "state", "address": "co:5:state", "scan_rate_ms": 200}]}
JSON
start_gateway canopen canopen
keep canopen.node python3 /peers/canopen_node.py vcan3
until_done is_said 'node 5 is gone' /out/canopen.log
stop_gateway canopen
keep canopen.tail timeout 12 fieldbeat tail --config canopen --from-start --lines 2000
