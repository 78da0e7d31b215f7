#!/bin/sh
# Packs the independent peers of the guest's field buses: a Python with python-can, cantools and canopen, can-utils,
# i2c-tools and iproute2, as one archive for the guest's root. Nothing is fetched: tests/setup.sh installed them.
#
#   peers.sh   prints where the archive lies; made when it is missing or something of it has changed
#
# Exit code: 0 it is there, 1 it can't be had; the last line of standard error says why and what to install.
# It lies beside the kernel (prepare.sh). In the guest: /python, /bin/python3, the tools in /bin.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/sbin:/usr/sbin
python=$here/../../.venv/bin/python

tools="candump:can-utils cansend:can-utils cangen:can-utils canplayer:can-utils i2cdetect:i2c-tools i2cget:i2c-tools
i2cset:i2c-tools i2cdump:i2c-tools ip:iproute2"
# Python's name of a package, and where its distribution keeps it.
packages="can canopen cantools argparse_addons bitstruct crccheck packaging textparser typing_extensions wrapt"
distributions="python_can canopen cantools"
# What no peer imports.
trimmed="test tests idlelib tkinter turtledemo lib2to3 ensurepip distutils pydoc_data site-packages dist-packages
__pycache__ config-* _test* xx* _tkinter* _curses* _dbm* _gdbm* readline* nis* _codecs_*"

cannot() {
	echo "$*" >&2
	exit 1
}

for tool in $tools; do
	command -v "${tool%:*}" >/dev/null 2>&1 || cannot "install ${tool#*:}, or run sh tests/setup.sh as root"
done
[ -x "$python" ] || cannot "no Python peers in .venv; run sh tests/setup.sh"
# Its standard library, its packages, and the program itself.
places=$("$python" -c 'import sys, sysconfig
import can, canopen, cantools
print(sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sys._base_executable)' 2>/dev/null) ||
	cannot "can, canopen and cantools can't be imported in .venv; run sh tests/setup.sh"
read -r library site program <<END
$places
END

# Whatever would change the archive changes its name.
key=$({
	cat "$here/peers.sh"
	ls -l "$library/os.py" "$(readlink -f "$program")"
	for tool in $tools; do ls -lL "$(command -v "${tool%:*}")"; done
	for package in $packages; do ls -ld "$site/$package"*; done
} | sha256sum | cut -c 1-16)
base=${FIELDBEAT_GUEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/fieldbeat}
archive=$base/guest-peers-$key.cpio
if [ -e "$archive" ]; then
	echo "$archive"
	exit 0
fi

echo "packing the peers of the guest tests" >&2
mkdir -p "$base" || cannot "$base can't be made; name a directory in FIELDBEAT_GUEST_CACHE"
new=$(mktemp -d "$base/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
root=$new/root
version=$(basename "$library")
to=$root/python/lib/$version
mkdir -p "$root/bin" "$root/python/bin" "$to/site"

copy() { # directory, to
	set -f
	left=
	for name in $trimmed; do left="$left --exclude=$name"; done
	# shellcheck disable=SC2086
	tar -C "$1" $left -cf - . | tar -C "$2" -xf -
	set +f
}
copy "$library" "$to"
for package in $packages; do
	if [ -d "$site/$package" ]; then
		mkdir "$to/site/$package"
		copy "$site/$package" "$to/site/$package"
	else
		cp "$site/$package.py" "$to/site/"
	fi
done
for distribution in $distributions; do cp -R "$site/$distribution"-*.dist-info "$to/site/"; done
cp -L "$program" "$root/python/bin/python3"
for tool in $tools; do cp -L "$(command -v "${tool%:*}")" "$root/bin/${tool%:*}"; done
# Modules whose libraries are not here are of no use there.
find "$to" -name '*.so' | while read -r module; do
	! ldd "$module" 2>/dev/null | grep -q 'not found' || rm "$module"
done
# The libraries of all that, where their loader looks for them.
find "$root" -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec ldd {} + 2>/dev/null |
	grep -oE '=> /[^ ]+|^\s*/[^ :]+ ' | sed 's/^=> //' | tr -d ' \t' | sort -u | while read -r file; do
	mkdir -p "$root$(dirname "$file")"
	cp -L "$file" "$root$file"
done
# Symbols of a debugger are most of their size.
find "$root" -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec strip --strip-unneeded {} + 2>/dev/null || true
# Compiled here: the guest is slow, and its Python is to believe it without a look at the sources.
"$python" -m compileall -q -j 2 --invalidation-mode unchecked-hash -s "$root" "$to" >/dev/null || true
cat >"$root/bin/python3" <<END
#!/bin/sh
PYTHONHOME=/python PYTHONPATH=/python/lib/$version/site PYTHONDONTWRITEBYTECODE=1 exec /python/bin/python3 -S "\$@"
END
chmod +x "$root/bin/python3"
(cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$new/archive"
find "$base" -maxdepth 1 -name 'guest-peers-*.cpio' -mtime +7 -delete
mv "$new/archive" "$archive"
echo "$archive"
