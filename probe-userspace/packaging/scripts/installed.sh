# Nothing is started: after a removal host file and policy are still here, and installing attaches to nothing.
echo "cordon: installed, attached to nothing. Next: cordon init, then systemctl enable --now cordon-restore cordon"
