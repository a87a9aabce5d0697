#!/bin/bash
# The second program in the guest, on the host's files: what a test expects of a machine, then the commands of /run/job/job.
# shellcheck source=/dev/null
. /run/job/job # sets MODULES and DIRECTORY, exports the environment, and defines commands
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

# NUMBER LIMIT WORD...: what the command says is in NUMBER.output while it runs, its status in NUMBER.status when it has ended
command() {
  timeout --kill-after=10 "$2" "${@:3}" </dev/null >"/run/job/$1.output" 2>&1
  echo $? >"/run/job/$1.status.tmp"
  mv "/run/job/$1.status.tmp" "/run/job/$1.status"
}
commands
/bin/busybox poweroff -f
