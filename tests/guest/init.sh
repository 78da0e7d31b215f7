#!/bin/busybox sh
# The guest's first process: mounts what a system has, runs /command, leaves what came of it in /out, switches off.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mkdir -p /proc /sys /dev /run /tmp /out /etc
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
for place in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$place"; done
ln -sf /proc/self/fd /dev/fd
ip link set lo up
for module in virtio_pci 9pnet_virtio 9p e1000; do modprobe "$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 out /out || poweroff -f
cut -d' ' -f1 /proc/uptime >/out/up
cd /tmp
sh /command >/out/stdout 2>/out/stderr </dev/null
echo $? >/out/rc
dmesg >/out/dmesg
sync
umount /out
poweroff -f
