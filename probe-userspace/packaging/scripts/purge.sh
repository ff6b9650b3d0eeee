# Policy, audit log and keys of this host, its pins, its user. What somebody else put beside the host file stays.
rm -rf /var/lib/cordon /run/cordon /sys/fs/bpf/cordon
rm -f /etc/cordon/cordon.toml
if [ -d /etc/cordon ] && ! rmdir /etc/cordon 2>/dev/null; then
    echo "cordon: /etc/cordon is kept: it holds files that are not the package's" >&2
fi
if getent passwd cordon >/dev/null; then
    userdel cordon || true
fi
if getent group cordon >/dev/null; then
    groupdel cordon || true
fi
