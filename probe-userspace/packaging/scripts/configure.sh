# The user, its directories, and a host file that attaches to nothing. No failure of these stops the package manager.
systemd-sysusers cordon.conf || echo "cordon: the user cordon could not be made" >&2
systemd-tmpfiles --create cordon.conf || true
if [ ! -e /etc/cordon/cordon.toml ]; then
    install -d -m 0755 /etc/cordon
    install -m 0644 /usr/share/cordon/cordon.toml /etc/cordon/cordon.toml
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
