#!/bin/sh
# Writes deploy/compose.env, or the file that is named: the example, with a fresh secret in each empty variable.
# A file that is there already is left alone.
set -eu
example="$(dirname "$0")/compose.env.example"
file="${1:-$(dirname "$0")/compose.env}"

if [ -e "$file" ]; then
    echo "$file is there already, and PostgreSQL's volume was made with its password; remove both to begin anew" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
        FLOWER_BASIC_AUTH=) echo "${line}admin:$(openssl rand -hex 12)" ;;
        [A-Z]*=) echo "$line$(openssl rand -hex 24)" ;;
        *) echo "$line" ;;
    esac
done <"$example" >"$file"
echo "$file: written, readable for you alone"
