# Links, maps and the policy in force are the kernel's: they judge packets while one daemon ends and the next takes over.
# Not waited for: a start that is not over must not hold up the package manager.
if [ -d /run/systemd/system ]; then
    systemctl --no-block try-restart cordon.service || true
fi
