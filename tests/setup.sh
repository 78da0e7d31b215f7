#!/bin/sh
# Puts in place the independent peers that the tests talk to. As root on Debian it installs what is missing;
# elsewhere it says what to install, and fails.
set -eu
cd "$(dirname "$0")/.."

# Where Debian keeps what only an administrator needs.
PATH=$PATH:/sbin:/usr/sbin
missing=
need() { # command, Debian package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
find_missing() {
	missing=
	need cc build-essential
	need pkg-config pkg-config
	need python3 python3
	need mosquitto mosquitto
	need mosquitto_sub mosquitto-clients
	need mbpoll mbpoll
	need influxd influxdb
	need victoria-metrics victoria-metrics
	need promtool prometheus
	need setpriv util-linux
	need systemd-analyze systemd
	need cyclictest rt-tests
	need stress-ng stress-ng
	need candump can-utils
	need i2cset i2c-tools
	need ip iproute2
	if command -v pkg-config >/dev/null 2>&1; then
		pkg-config --exists libmodbus || missing="$missing libmodbus-dev"
	else
		missing="$missing libmodbus-dev"
	fi
	python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
}

find_missing
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing:$missing"
	# Nothing of it is to run as a service: the tests start their own.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod +x /usr/sbin/policy-rc.d
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
	find_missing
fi
if [ -n "$missing" ]; then
	echo "the tests need these Debian packages:$missing" >&2
	echo "install them (apt-get install$missing), or run make test as root" >&2
	exit 1
fi

# The Python peers, in an environment of their own.
packages="pymodbus==3.11.4 pyserial==3.5 python-can==4.6.1 cantools==45.1.0 canopen==2.4.1 paho-mqtt==2.1.0"
if ! .venv/bin/python -c 'import pymodbus, serial, can, cantools, canopen, paho.mqtt' >/dev/null 2>&1; then
	echo "installing for Python: $packages"
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $packages || {
		echo "pip could not install $packages into .venv; is a package index reachable?" >&2
		exit 1
	}
fi

# The files that cantools and canopen have in their own tests: they are in their sources only.
if [ ! -e .venv/real_files/complete ]; then
	rm -rf .venv/real_files && mkdir -p .venv/real_files
	.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
		--dest .venv/real_files cantools==45.1.0 canopen==2.4.1 &&
		for source in .venv/real_files/*.tar.gz; do tar -xzf "$source" -C .venv/real_files && rm "$source"; done &&
		touch .venv/real_files/complete || {
		echo "pip could not fetch the sources of cantools and canopen; is a package index reachable?" >&2
		exit 1
	}
fi

# The emulated machine of tests/guest. Without it those tests are skipped, and say so.
if [ "${FIELDBEAT_GUEST:-}" != off ] && ! { sh tests/guest/prepare.sh && sh tests/guest/peers.sh; } >/dev/null; then
	echo "the guest tests will be skipped (see above); FIELDBEAT_GUEST=required makes that an error" >&2
	[ "${FIELDBEAT_GUEST:-}" != required ] || exit 1
fi
