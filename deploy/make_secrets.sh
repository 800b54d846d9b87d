#!/bin/sh
# Make the secrets of the scaled-out site (compose.yaml) where there are none yet, in files that their owner alone can
# read: deploy/secrets, or the folder that is named. Keep a copy of them: without ENCRYPTION_KEYS the keys of accounts in
# a backup can't be read.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
if [ -e "$folder/app.env" ]; then
  echo "There are secrets in $folder already; they stay."
  exit
fi

random() { # letters and digits, 256 bits
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}
fernet_key() {
  head -c 32 /dev/urandom | base64 | tr '+/' '-_'
}

password=$(random)
key="AWS_ACCESS_KEY_ID=$(random | head -c 20)
AWS_SECRET_ACCESS_KEY=$(random)"
printf '%s\n' "POSTGRES_PASSWORD=$password" >"$folder/postgresql.env"
printf '%s\n' "$key" >"$folder/objects.env"
# Last, as it says that all of them are there.
printf '%s\n' "SECRET_KEY=$(random)" "ENCRYPTION_KEYS=$(fernet_key)" "PGPASSWORD=$password" "$key" >"$folder/.app.env"
mv "$folder/.app.env" "$folder/app.env"
echo "Made the secrets in $folder."
