#!/bin/busybox sh
# What the tests let happen in the guest: the parts that are named, each a file of parts/. Nothing is judged here: each
# part leaves files in /out, the tests read them.
#
#   scenario.sh PART...
#   steps        in /out: which step began when, seconds since the guest's start
#
# The parts use what follows here.
set -u
cd /tmp

step() { echo "$(cut -d' ' -f1 /proc/uptime) $*" >>/out/steps; }

# Waits until a command succeeds, a minute at most.
until_done() {
	tries=300
	until "$@" 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { step "gave up: $*"; return 1; }
		sleep 0.2
	done
}

# Runs a command for a minute at most. Its output is kept in /out as NAME, its errors as NAME.err, its exit code as
# NAME.code, which comes last. With & behind it for what goes on while others work.
keep() { # name, command...
	kept=$1
	shift
	timeout -k 2 60 "$@" >"/out/$kept" 2>"/out/$kept.err"
	echo $? >"/out/$kept.code"
}

# One line a thread: scheduling policy, priority, minor and major faults, CPUs it may use, its name.
threads() {
	for task in "/proc/$1/task"/*; do
		cpus=$(awk '/^Cpus_allowed_list:/ { print $2 }' "$task/status")
		awk -v cpus="$cpus" '{ name = $0; sub(/^[^(]*\(/, "", name); sub(/\).*/, "", name); sub(/^.*\) /, "")
			print $39, $38, $8, $10, cpus, name }' "$task/stat"
	done
}

address_in() { sed -n 's|.*metrics on http://\([0-9.:]*\)/.*|\1|p' "$1"; }

page() { wget -q -O - "http://$(address_in "$1")/$2"; }

is_said() { grep -q "$1" "$2"; }

# A run of the gateway in the background, its log as NAME.log, its report as NAME.report.json. Sets gateway.
start_gateway() { # name, configuration directory
	rm -rf "$2/journal"
	fieldbeat run --config "$2" --report "/out/$1.report.json" >"/out/$1.log" 2>&1 &
	gateway=$!
	until_done is_said 'metrics on' "/out/$1.log"
}

# Ends it, and keeps its exit code as NAME.code.
stop_gateway() { # name
	kill -TERM "$gateway"
	wait "$gateway"
	echo $? >"/out/$1.code"
}

# Interfaces without hardware, for frames of up to 64 bytes.
can_up() { # interface...
	modprobe -a vcan can-raw can-bcm
	for interface in "$@"; do
		[ -e "/sys/class/net/$interface" ] || ip link add "$interface" type vcan
		ip link set "$interface" mtu 72 up
	done
}

# Whether so many sockets listen to an interface's frames.
hears() { # interface, sockets
	[ "$(cat /proc/net/can/rcvlist_* | grep -c "^ *$1 .*[0-9a-f]  *raw$")" -ge "$2" ]
}

for part in "$@"; do
	step "$part"
	# What a part sets is its own; what it starts it ends itself.
	(. "/parts/$part.sh")
done
step end
