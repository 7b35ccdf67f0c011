#!/usr/bin/env bash
# A systemd of its own, in namespaces where nothing of the host can be written: the root is an overlay whose upper layer
# is in memory, and the old root is gone before anything is started. It has the network namespace of its caller.
#
# booted.sh PACKAGE SCRIPT FOLDER: runs SCRIPT as a unit, with PACKAGE as /tmp/package.deb and FOLDER as /mnt/told; its
# output is in FOLDER/out, and its end in FOLDER/rc.
set -euo pipefail
mount --make-rprivate /
up=$(mktemp -d)
mount -t tmpfs tmpfs "$up"
mkdir "$up"/{upper,work,root}
root=$up/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$up/upper,workdir=$up/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root"/dev/{shm,pts,mqueue}
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for folder in run tmp var/log mnt; do mount -t tmpfs tmpfs "$root/$folder"; done
cp "$1" "$root/tmp/package.deb"
cp "$2" "$root/tmp/script"
mkdir "$root/mnt/told"
mount --bind "$3" "$root/mnt/told"
cd "$root"
mkdir old
pivot_root . old
umount -l /old
# Nothing but what is asked for is started.
find /usr/lib/systemd/system /etc/systemd/system -name '*.wants' -prune -exec rm -rf {} +
find /usr/lib/systemd/system -name 'systemd-tmpfiles*' -o -name 'systemd-sysctl*' -o -name '*.timer' | xargs rm -f
ip link set lo up
cat >/run/walk.service <<END
[Service]
Type=oneshot
StandardOutput=file:/mnt/told/out
StandardError=file:/mnt/told/out
ExecStart=/bin/bash -c 'bash -e /tmp/script; echo \$? >/mnt/told/rc'
END
mkdir -p /etc/systemd/system
cp /run/walk.service /etc/systemd/system/
printf '[Unit]\nWants=walk.service systemd-journald.service\n' >/etc/systemd/system/walk.target
container=test exec /lib/systemd/systemd --system --unit=walk.target --show-status=0 --log-level=warning
