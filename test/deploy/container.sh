#!/bin/bash
# What a container runtime does for a pod of deploy/, as far as Weir can tell, in the mount and pid namespace that it is started
# in (unshare --mount --pid --fork): a root that is read-only, /proc/sys read-only, the volumes, the capabilities.
#
#   container.sh ROOT BPFFS MANIFESTS CGROUP CAPABILITIES COMMAND...
#
# ROOT is the image: what scripts/image-root.ts puts together, on a Debian of its own or else on this machine's. BPFFS is mounted
# at /sys/fs/bpf, MANIFESTS at /manifests, CGROUP read-only at /host/sys/fs/cgroup, this network namespace's settings at /host/proc/sys/net unless WITHOUT_SYSCTL is set.
# CAPABILITIES are as setpriv takes them: `,+bpf,+net_admin`; the rest is gone for good.
set -eu
root=$1 bpffs=$2 manifests=$3 cgroup=$4 capabilities=$5
shift 5

mount --bind "$root" "$root"
cd "$root" # the mount above, not what it covers
cd "$(pwd)"
mkdir -p proc sys dev tmp mnt manifests host/proc/sys/net host/sys/fs/cgroup
if [ ! -e usr/bin/setpriv ]; then
  mkdir -p etc
  for directory in bin sbin lib lib64; do ln -sfn "usr/$directory" "$directory"; done
  mount --bind usr/local mnt
  mount --bind /usr usr
  mount --bind mnt usr/local
  mount -o remount,bind,ro usr
  mount --bind /etc etc
  mount -o remount,bind,ro etc
fi
mount --bind /dev dev
mount -t sysfs -o ro sysfs sys
mount --bind "$bpffs" sys/fs/bpf
mount --bind "$manifests" manifests
mount --bind "$cgroup" host/sys/fs/cgroup
mount -o remount,bind,ro host/sys/fs/cgroup
mount -t proc proc proc
[ -n "${WITHOUT_SYSCTL:-}" ] || mount --bind proc/sys/net host/proc/sys/net
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -o remount,bind,ro .

exec chroot . /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${ENVIRONMENT:-} \
  /usr/bin/setpriv --no-new-privs --bounding-set="-all$capabilities" --inh-caps=-all --ambient-caps=-all "$@"
