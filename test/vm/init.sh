#!/bin/sh
# The first program in the guest: puts a layer in memory over the host's files, which stay as they are, and goes on there.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
fail() {
  echo "guest: $*" >/dev/console
  poweroff -f
}
for module in $(cat /order); do insmod "/m/$module" || fail "insmod $module"; done
options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,cache=loose,ro" host /lower || fail 'mount the host'
mount -t tmpfs -o mode=755,size=75% over /over && mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work overlay /root || fail 'mount the overlay'
mount -t tmpfs -o mode=755 run /root/run
mkdir /root/run/job && mount -t 9p -o "$options,cache=none" job /root/run/job || fail 'mount the job'
for directory in proc sys dev; do mount -o move "/$directory" "/root/$directory"; done
exec switch_root /root /bin/bash /run/job/guest.sh
