# Without the program nobody could end what it left in the kernel, so it goes first, on record and said aloud.
if [ -d /run/systemd/system ]; then
    systemctl disable --now cordon.service cordon-restore.service || true
fi
if ! cordon detach --yes --reason "the package was removed" &&
    # Whatever is wrong with the host file: the usual places.
    ! cordon --config /usr/share/cordon/cordon.toml detach --yes --reason "the package was removed"; then
    echo "cordon: could not detach in order: removing the links by force" >&2
    rm -rf /sys/fs/bpf/cordon/v*/links || true
fi
