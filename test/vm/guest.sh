#!/bin/bash
# The second program in the guest, on the host's files: what a test expects of a machine, then the command of /run/job/job.
# shellcheck source=/dev/null
. /run/job/job # sets MODULES, DIRECTORY and COMMAND and exports the environment
modules=/lib/modules/$(uname -r)
mkdir -p "$modules" /dev/pts /dev/shm /run/lock /run/netns
mount --bind "$MODULES" "$modules"
mount -t devpts -o mode=620,ptmxmode=666,gid=5 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount --make-rshared /
ip link set lo up
hostname vm
ulimit -n 65536
ulimit -l unlimited
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
cd "$DIRECTORY" || cd /
stty -F /dev/ttyS0 raw -echo
setsid "${COMMAND[@]}" </dev/null >/dev/ttyS0 2>&1
status=$?
stty -F /dev/ttyS0 raw -echo # waits until all of the output has left
echo "$status" >/run/job/status
/bin/busybox poweroff -f
