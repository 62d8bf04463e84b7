# Let the leader start ranks here: an ssh server of this user alone.
install -d -m 700 /tmp/ssh
install -m 600 /var/run/ssh/id_ed25519 /tmp/ssh/host-key
install -m 600 /var/run/ssh/id_ed25519.pub /tmp/ssh/authorized-keys
exec /usr/sbin/sshd -D -e -p 2222 -f /dev/null -o HostKey=/tmp/ssh/host-key \
  -o AuthorizedKeysFile=/tmp/ssh/authorized-keys -o PasswordAuthentication=no -o UsePAM=no -o PidFile=none
