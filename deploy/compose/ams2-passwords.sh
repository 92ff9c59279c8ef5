#!/bin/sh
# Writes .env next to this file, with passwords that nobody else has; ams2.yaml has none of its own.
# A file that is there stays: the database keeps the password that it was made with.
set -eu
file=$(dirname "$0")/.env
new() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ -e "$file" ]; then
    echo "$file is there already. To change passwords, see docs/races.md." >&2
    exit 1
fi
umask 077
{
    echo "AWS_ACCESS_KEY_ID=ams2"
    for name in POSTGRES_PASSWORD REDIS_PASSWORD AWS_SECRET_ACCESS_KEY APEX_API_TOKEN; do
        echo "$name=$(new)"
    done
} > "$file"
echo "Wrote $file, readable by its owner only."
