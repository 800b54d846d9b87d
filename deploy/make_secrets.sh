#!/bin/sh
# Generate the secrets of the scaled-out site (compose.yaml) if they don't exist, in deploy/secrets or the given folder.
# Only their owner can read the files. Keep a copy: without ENCRYPTION_KEYS, the account keys in a backup can't be
# decrypted.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
if [ -e "$folder/app.env" ]; then
  echo "The secrets already exist in $folder. They were not changed."
  exit
fi

random() { # prints $2 random characters from the set $1, or fails
  chosen=$(head -c 8192 /dev/urandom | LC_ALL=C tr -dc "$1" | head -c "$2")
  [ "${#chosen}" -eq "$2" ] && printf %s "$chosen"
}
secret() {
  random 'A-Za-z0-9' 64
}

superuser=$(secret)
password=$(secret)
secret_key=$(secret)
access_key=$(random 'A-Za-z0-9' 20)
# 32 bytes in URL-safe base64: the last character holds four bits.
encryption_key=$(random 'A-Za-z0-9_-' 42)$(random 'AEIMQUYcgkosw048' 1)=
key="AWS_ACCESS_KEY_ID=$access_key
AWS_SECRET_ACCESS_KEY=$(secret)"
printf '%s\n' "POSTGRES_PASSWORD=$superuser" "RESULTS_PASSWORD=$password" >"$folder/postgresql.env"
printf '%s\n' "$key" >"$folder/objects.env"
# Written last, because its existence means that all secrets exist.
printf '%s\n' "SECRET_KEY=$secret_key" "ENCRYPTION_KEYS=$encryption_key" "PGPASSWORD=$password" "$key" >"$folder/.app.env"
mv "$folder/.app.env" "$folder/app.env"
echo "Generated the secrets in $folder."
