# The machine and the gateway on it: what fieldbeat-rt changes, a run, its reload, the latency harness, a stall.
#
#   settings.*   what fieldbeat-rt may change, one "path value" a line: before, applied, after
#   doctor.*     the doctor's JSON and its exit code: before, applied, again
#   rt.*         what fieldbeat-rt said: apply, again, show, revert
#   gateway.*    a run of the gateway: its threads twice, its metrics twice, its log, its report, its exit code
#   reload.*     the same run, while a tag file goes and comes back: its threads before and after, its metrics
#   latency.*    a run of the latency harness
#   stall.*      a run whose executor's CPU is taken away

snapshot() {
	for path in /proc/irq/default_smp_affinity /proc/irq/[0-9]*/smp_affinity_list \
		/sys/devices/virtual/workqueue/cpumask /proc/sys/kernel/watchdog_cpumask \
		/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor /sys/kernel/mm/transparent_hugepage/enabled \
		/proc/sys/kernel/sched_rt_runtime_us /proc/sys/kernel/timer_migration /proc/sys/vm/stat_interval; do
		[ ! -e "$path" ] || echo "$path $(cat "$path")"
	done >"/out/settings.$1"
	for comm in /proc/[0-9]*/comm; do
		read -r name <"$comm" || continue
		case $name in
		irq/*-eth0) awk -v name="$name" '{ sub(/^.*\) /, ""); print name, "priority", $38 }' "${comm%/comm}/stat" ;;
		esac
	done >>"/out/settings.$1" 2>/dev/null
}

doctor() {
	fieldbeat doctor --json >"/out/doctor.$1.json"
	echo $? >"/out/doctor.$1.code"
}

# A machine as it is where drivers came late and somebody was at work: CPU 1 serves interrupts and kernel work.
untidy() {
	echo 3 >/proc/irq/default_smp_affinity
	echo 0-1 >"/proc/irq/$serial/smp_affinity_list"
	echo 1 >"/proc/irq/$disk/smp_affinity_list"
	echo 3 >/sys/devices/virtual/workqueue/cpumask
	echo 0-1 >/proc/sys/kernel/watchdog_cpumask
}

irq_of() { sed -n "s/^ *\([0-9]*\):.*$1.*/\1/p" /proc/interrupts | head -n 1; }

rt() { # what it is kept as, action
	FIELDBEAT_NICS=eth0 fieldbeat-rt "$2" >"/out/rt.$1" 2>&1
	echo $? >"/out/rt.$1.code"
}

start_plant() {
	mkdir -p plant
	# Ordinary programs are not put on an isolated CPU: the plant is on CPU 0.
	fieldbeat plant --config plant --devices 4 --tags 80 --rate 10 --no-broker >/out/plant.log 2>&1 &
	plant=$!
	until_done is_said '^plant:' /out/plant.log
}

shows_link() { page /out/gateway.log metrics | grep -q "fieldbeat_link_replies_total{link=\"$1\",result=\"good\"} [1-9]"; }

lacks_link() { ! page /out/gateway.log metrics | grep -q "link=\"$1\""; }

# A file goes, and comes back as scp brings it.
reload() {
	threads $gateway >/out/reload.threads.before
	mv plant/tags/dev3.json plant/dev3.json
	until_done lacks_link dev3 && echo gone >/out/reload.steps
	cat plant/dev3.json >plant/tags/dev3.json
	until_done shows_link dev3 && echo back >>/out/reload.steps
	page /out/gateway.log metrics >/out/reload.metrics
	threads $gateway >/out/reload.threads.after
}

beat() {
	start_gateway gateway plant
	sleep 3
	threads $gateway >/out/gateway.threads.early
	page /out/gateway.log metrics >/out/gateway.metrics.early
	sleep 8
	page /out/gateway.log metrics >/out/gateway.metrics.late
	page /out/gateway.log health >/out/gateway.health
	threads $gateway >/out/gateway.threads.late
	cat /proc/$gateway/status >/out/gateway.status
	reload
	stop_gateway gateway
}

# Long enough for a few wake-ups of each tool.
latency() {
	fieldbeat-latency --seconds 2 --rounds 1 --json /out/latency.json --plot /out/latency.svg >/out/latency.log 2>&1
	echo $? >/out/latency.code
}

# A thread above the executor's priority takes CPU 1 and keeps it: the executor is runnable, and never runs.
stall() {
	start_gateway stall plant
	sleep 2
	chrt -f 90 taskset 2 sh -c 'while :; do :; done' &
	hog=$!
	until_done has_ended $gateway
	# Its executor can't die before it runs once more.
	kill -KILL $hog
	wait $hog 2>/dev/null
	wait $gateway
	echo $? >/out/stall.code
}

# Its first thread is gone; others may still be there.
has_ended() { grep -q '^State:.*Z' "/proc/$1/status"; }

step settings
# An interrupt has its thread once its interface is up.
ip link set eth0 up
serial=$(irq_of ttyS0)
disk=$(irq_of virtio0-requests)
untidy
snapshot before
cat /sys/devices/system/clocksource/clocksource0/current_clocksource >/out/clocksource
doctor before
rt apply apply
snapshot applied
doctor applied
rt again apply
rt show show
step plant
start_plant
step gateway
beat
step latency
latency
step stall
stall
kill $plant
step revert
rt revert revert
snapshot after
doctor again
