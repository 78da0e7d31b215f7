# CAN: vcan0, vcan1 and vcan2 are this part's own.
#
#   can.rig.*    that the peers hear each other: what python-can heard from cansend, what candump heard from both
#   can.sent     the values that cantools put into messages, by signal
#   can.tail     what the journal has of them and of all that follows
#   can.cyclic   what candump heard of the message that the gateway sends
#   can.j1939    the values that the kernel's J1939 put into messages of several packets, by tag
#   can.off.*, can.on.*  metrics and health while a controller is off the bus, and behind that
#   can.gateway.*  the gateway's log, report and exit code

can_up vcan0 vcan1 vcan2
modprobe can-j1939

keep can.rig.candump candump -L -n 8 vcan0 &
keep can.rig.python python3 /peers/can_rig.py vcan0 4 &
until_done hears vcan0 2
cansend vcan0 123#DEADBEEF
cansend vcan0 1F334455#1122334455667788
cansend vcan0 7FF#R
cansend vcan0 5A1##1000102030405060708090A0B
wait

mkdir -p can/tags
cp /peers/vehicle.dbc can/tags/vehicle.dbc
cat >can/fieldbeat.toml <<-END
	[gateway]
	id = "can"
	[journal]
	path = "journal"
	max_bytes = "64MiB"
	[metrics]
	listen = "127.0.0.1:0"
END
tag() { # name, address, more
	echo "{ \"name\": \"$1\", \"address\": \"$2\", \"scan_rate_ms\": 20 ${3-} }"
}
cat >can/tags/can.json <<-END
	{ "links": [
	    { "name": "can0", "protocol": "can", "interface": "vcan0", "dbc": "vehicle.dbc", "sampling": "every" },
	    { "name": "fd0", "protocol": "can", "interface": "vcan1", "dbc": "vehicle.dbc", "fd": true, "sampling": "every",
	      "transmit": [ { "message": "Command", "period_ms": 50, "initial": { "Target": 12.5, "Enable": 1 } } ] },
	    { "name": "truck", "protocol": "can", "interface": "vcan2", "sampling": "every" },
	    { "name": "gone", "protocol": "can", "interface": "vcan9" } ],
	  "tags": [
	    $(tag Motor.Speed can0:Motor.Speed), $(tag Motor.Torque can0:Motor.Torque),
	    $(tag Motor.Gear can0:Motor.Gear ', "data_type": "string"'), $(tag Motor.Running can0:Motor.Running),
	    $(tag Pages.Page can0:Pages.Page), $(tag Pages.Count can0:Pages.Count), $(tag Pages.Level can0:Pages.Level),
	    $(tag Flood can0:0x555:0:32), $(tag Fd.Last fd0:0x101:504:8), $(tag Own fd0:Command.Target),
	    $(tag Dm.First truck:pgn:0xFECA:0x80:0:16), $(tag Dm.Far truck:pgn:0xFECA:0x80:1120:32),
	    $(tag Session.Last truck:pgn:0xEF00:14264:16), $(tag Nobody gone:0x1:0:8) ] }
END

link_is() { page /out/can.gateway.log metrics | grep -q "fieldbeat_link_state{link=\"$1\",state=\"$2\"} 1"; }

step traffic
start_gateway can.gateway can
until_done link_is can0 up
until_done link_is fd0 up
keep can.cyclic candump -L -n 5 vcan1,200:7FF
keep can.sent python3 /peers/can_traffic.py vcan0 vcan1 /peers/vehicle.dbc
step j1939
until_done link_is truck up
keep can.j1939 python3 /peers/j1939.py vcan2
# The announcement of a message of three packets, of which the second stays away; and what a controller tells of itself:
# error-passive, overrun, lost arbitration, no acknowledgement, an error of form, and that it has left the bus.
for frame in 1CECFF80#20110003FFCAFE00 1CEBFF80#0101010101010101 1CEBFF80#0301010101010101 \
	20000004#0020000000000000 20000004#0001000000000000 20000002#0000000000000000 20000020#0000000000000000 \
	20000008#0000020000000000 20000040#0000000000000000; do
	cansend vcan2 $frame
done
until_done link_is truck bus_off
for kind in metrics health; do page /out/can.gateway.log $kind >/out/can.off.$kind; done
cansend vcan2 20000100#0000000000000000
until_done link_is truck up
for kind in metrics health; do page /out/can.gateway.log $kind >/out/can.on.$kind; done
step flood
# As fast as it can; the data counts from 0. One frame more, with which the kernel tells what it dropped.
cangen vcan0 -g 0 -I 555 -L 4 -D i -n 10000
sleep 1
cansend vcan0 555#FFFFFFFF
step outage
ip link set vcan0 down
until_done link_is can0 down
ip link set vcan0 up
until_done link_is can0 up
cansend vcan0 100#9001000500000000
sleep 1
stop_gateway can.gateway
timeout -k 1 8 fieldbeat tail --config can --from-start >/out/can.tail 2>/out/can.tail.err
