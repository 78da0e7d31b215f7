#!/bin/sh
# Boots a PREEMPT_RT kernel in an emulator with CPU 1 isolated, runs one command there as root, passes its output and
# its exit code on.
#
#   tests/guest/boot.sh [-o DIR] [-t SECONDS] [-f FILE[:/GUEST/PATH]]... [-i ARCHIVE] [-a "KERNEL ARGUMENTS"] -- COMMAND...
#
#   -o  where results come back (/out in the guest), target/guest by default; stdout, stderr, rc and console lie there
#   -t  end it by force after so many seconds, 300 by default
#   -f  a file of this machine, into /bin of the guest unless a path is given; libraries of programs come along; or a directory
#   -i  more of the guest's root, as peers.sh makes it
#
# For example, by hand: tests/guest/boot.sh -f target/debug/fieldbeat -- 'uname -a; fieldbeat doctor'
# The guest is emulated: what works there works, but its times mean nothing. Never give the emulator a real-time
# priority. Exit code 125: the guest did not come to the end of the command.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

usage() {
	sed -n '5,13s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

out=$here/../../target/guest
seconds=300
archive=
arguments=
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$root/bin"

# Copies a file, and the libraries it is linked with to where its loader looks for them.
add() { # file, path in the guest
	mkdir -p "$root$(dirname "$2")"
	[ ! -d "$1" ] || { cp -R "$1" "$root$2" && return; }
	cp -L "$1" "$root$2"
	{ ldd "$1" 2>/dev/null || true; } | grep -oE '/[^ ]+' | while read -r library; do
		[ -e "$root$library" ] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; }
	done
}

while getopts o:t:f:i:a: option; do
	case $option in
	o) out=$OPTARG ;;
	t) seconds=$OPTARG ;;
	f) case $OPTARG in
		*:/*) add "${OPTARG%%:/*}" "/${OPTARG#*:/}" ;;
		*) add "$OPTARG" "/bin/$(basename "$OPTARG")" ;;
		esac ;;
	i) archive=$OPTARG ;;
	a) arguments=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
mkdir -p "$out"
out=$(cd "$out" && pwd)

kernel=$(sh "$here/prepare.sh")
cp -R "$kernel/lib/modules" "$root/modules"
mkdir -p "$root/lib"
mv "$root/modules" "$root/lib/modules"
cp "$(command -v busybox)" "$root/bin/busybox"
add "$(command -v chrt)" /bin/chrt
cp "$here/init.sh" "$root/init"
chmod +x "$root/init"
printf '%s\n' "$*" >"$root/command"
initrd=$(mktemp)
trap 'rm -rf "$root" "$initrd"' EXIT
(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$initrd"
# The kernel unpacks one archive after the other.
[ -z "$archive" ] || cat "$archive" >>"$initrd"

for old in rc stdout stderr console dmesg up; do
	rm -f "$out/$old"
done
code=0
timeout -k 5 "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
	-nodefaults -no-user-config -display none -no-reboot -serial "file:$out/console" \
	-netdev user,id=field,restrict=on -device e1000,netdev=field,romfile= \
	-virtfs "local,path=$out,mount_tag=out,security_model=none" \
	-kernel "$kernel/vmlinux" -initrd "$initrd" -append "console=ttyS0 quiet panic=-1 nokaslr mitigations=off \
isolcpus=managed_irq,domain,1 nohz_full=1 rcu_nocbs=1 irqaffinity=0 $arguments" </dev/null || code=$?

[ ! -e "$out/stdout" ] || cat "$out/stdout"
[ ! -e "$out/stderr" ] || cat "$out/stderr" >&2
if [ ! -s "$out/rc" ]; then
	echo "the guest did not come to its end (emulator: exit code $code); its console said:" >&2
	tail -n 30 "$out/console" >&2 || true
	exit 125
fi
exit "$(cat "$out/rc")"
