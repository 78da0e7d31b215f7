#!/bin/sh
# Whether a kernel has what a fragment asks for.
#
#   check-config.sh FRAGMENT CONFIG          compare with a .config, /boot/config-* or /proc/config.gz
#   check-config.sh FRAGMENT --names SOURCE  look each name up in the Kconfig files of a source tree
#
# Exit code: 0 all there, 1 something differs, 2 wrong usage or an unreadable file.
set -eu

usage() {
	sed -n '4,5s/^# *//p' "$0" >&2
	exit 2
}
[ $# -ge 2 ] && [ -r "$1" ] || usage
wrong=0

if [ "$2" = --names ]; then
	[ $# -eq 3 ] && [ -d "$3" ] || usage
	known=$(find "$3" -name 'Kconfig*' -type f -exec sed -n 's/^[[:space:]]*\(menu\)\{0,1\}config[[:space:]]\{1,\}\([A-Z0-9_]*\).*/\2/p' {} +)
	for name in $(sed -n 's/^\(# \)\{0,1\}CONFIG_\([A-Z0-9_]*\)[= ].*/\2/p' "$1"); do
		printf '%s\n' "$known" | grep -qx "$name" || { echo "CONFIG_$name: no such option in $3"; wrong=1; }
	done
	exit $wrong
fi

[ $# -eq 2 ] && [ -r "$2" ] || usage
case $2 in
*.gz) config=$(gzip -dc "$2") ;;
*) config=$(cat "$2") ;;
esac
while read -r line; do
	case $line in
	CONFIG_*=*)
		printf '%s\n' "$config" | grep -qxF "$line" || {
			echo "$line: it has $(printf '%s\n' "$config" | grep -E "^(# )?${line%%=*}[= ]" || echo "no such line")"
			wrong=1
		}
		;;
	"# CONFIG_"*" is not set")
		name=${line#\# }
		name=${name%% *}
		# An option whose dependency is missing is not written at all, and is off as well.
		if set_to=$(printf '%s\n' "$config" | grep "^$name="); then
			echo "$line: it has $set_to"
			wrong=1
		fi
		;;
	esac
done <"$1"
exit $wrong
