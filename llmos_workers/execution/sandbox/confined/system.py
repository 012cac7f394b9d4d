"""What every command may read, whatever its area, and the devices it may use.

A rule that names no file of this host is left out.
"""

_READABLE = """
/usr /bin /sbin /lib /lib32 /lib64
/etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/alternatives
/etc/passwd /etc/group /etc/nsswitch.conf /etc/localtime /etc/timezone /etc/hostname
/etc/os-release /etc/debian_version /etc/lsb-release /etc/redhat-release
/etc/protocols /etc/services /etc/ssl/certs /etc/ssl/openssl.cnf
/etc/mime.types /etc/magic /etc/fonts /etc/perl /etc/gitconfig /etc/inputrc /etc/bash.bashrc
/proc/meminfo /proc/cpuinfo /proc/stat /proc/loadavg /proc/uptime /proc/version
/proc/filesystems /proc/sys /sys/devices/system/cpu
"""
READABLE = _READABLE.split()
DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
