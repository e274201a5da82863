#!/bin/sh
# Writes deploy/compose.env: the example, with a fresh secret in each empty variable. Never overwrites one that is there.
set -eu
cd "$(dirname "$0")"

if [ -e compose.env ]; then
    echo "deploy/compose.env is there already; its passwords are those of the volumes that were made with it" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
        FLOWER_BASIC_AUTH=) echo "${line}admin:$(openssl rand -hex 12)" ;;
        [A-Z]*=) echo "$line$(openssl rand -hex 24)" ;;
        *) echo "$line" ;;
    esac
done <compose.env.example >compose.env
echo "deploy/compose.env: written, readable for you alone"
