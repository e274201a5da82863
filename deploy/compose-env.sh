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
trap 'rm -f "$file.part"' EXIT
while IFS= read -r line; do
    case $line in # Each secret a statement of its own, so that the script ends where there is none.
        FLOWER_BASIC_AUTH=) secret="admin:$(openssl rand -hex 12)" ;;
        [A-Z]*=) secret=$(openssl rand -hex 24) ;;
        *) secret= ;;
    esac
    echo "$line$secret"
done <"$example" >"$file.part"
mv "$file.part" "$file"
echo "$file: written, readable for you alone"
