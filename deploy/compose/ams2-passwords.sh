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
cat > "$file" <<EOF
POSTGRES_PASSWORD=$(new)
REDIS_PASSWORD=$(new)
AWS_ACCESS_KEY_ID=ams2
AWS_SECRET_ACCESS_KEY=$(new)
APEX_API_TOKEN=$(new)
EOF
echo "Wrote $file, readable by its owner only."
