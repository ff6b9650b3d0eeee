#!/bin/sh
# Installs cordon on a system with systemd, as root. Attaches to nothing. Run again, it upgrades: then restart cordon.
# To remove: `systemctl disable --now cordon cordon-restore`, `cordon detach`, and delete what this directory holds.
set -e
cd "$(dirname "$0")"
cp -R --no-preserve=ownership usr/. /usr/
@configure@
echo "cordon: installed, attached to nothing. Next: cordon init, then systemctl enable --now cordon-restore cordon"
