# shellcheck shell=bash
# A private Docker engine below a folder, for a machine that has none and can pull nothing. To be sourced.
# The images that deploy/ names are made from Debian packages and stand under the same tags.

start_engine() {
    local folder=$1 mirror
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends docker.io debootstrap iptables >/dev/null
    # Debian 12 has an engine, and neither of the two plugins: they come from the next Debian, into the folder.
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | head -1)
    mkdir -p "$folder"/apt/{lists,cache}/partial "$folder"/apt/cache/archives/partial "$folder"/config/cli-plugins
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$folder/apt/sources"
    (
        cd "$folder/apt"
        newer=(-o Dir::Etc::sourcelist="$PWD/sources" -o Dir::Etc::sourceparts=/dev/null
            -o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" -o APT::Sandbox::User=root)
        apt-get "${newer[@]}" update -qq
        apt-get "${newer[@]}" download -qq docker-compose docker-buildx
        for package in *.deb; do dpkg -x "$package" unpacked; done
        cp unpacked/usr/libexec/docker/cli-plugins/* "$folder/config/cli-plugins/"
    )
    export DOCKER_HOST="unix://$folder/docker.sock" DOCKER_CONFIG="$folder/config"
    # The engine changes these, and does not change them back.
    iptables -S FORWARD | head -1 >"$folder/forward-policy"
    cp /proc/sys/net/ipv4/ip_forward "$folder/ip_forward"
    dockerd --data-root "$folder/data" --exec-root "$folder/exec" --host "$DOCKER_HOST" --pidfile "$folder/docker.pid" \
        --storage-driver overlay2 --oom-score-adjust 0 --default-ulimit nofile=20000:20000 >"$folder/log" 2>&1 &
    for _ in $(seq 100); do
        docker info >/dev/null 2>&1 && return
        sleep 0.2
    done
    tail "$folder/log" >&2
    return 1
}

make_images() {
    local folder=$1 base root="$1/root" here
    here=$(dirname "${BASH_SOURCE[0]}")
    base=$(sed -n 's/^ARG BASE=//p' deploy/Dockerfile)
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
        bookworm "$root" >"$folder/debootstrap.log"
    ln -s /usr/bin/python3 "$root/usr/local/bin/python"
    # So that the builds reach packages the way this machine does.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
    tar -C "$root" --exclude ./proc --exclude ./sys --exclude ./dev -c . | docker import - "$base" >/dev/null
    for name in postgres redis; do
        docker build --quiet --build-arg BASE="$base" "$here/standins/$name" \
            --tag "$(sed -n "s/^ *image: \($name:.*\)/\1/p" deploy/compose.yaml)" >/dev/null
    done
}

stop_engine() {
    local folder=$1
    if [ -e "$folder/docker.pid" ]; then
        kill "$(cat "$folder/docker.pid")"
        wait
        umount "$folder"/exec/netns/* 2>/dev/null || true
        ip link delete docker0
        for table in filter nat; do
            iptables-save --table $table | grep -vi docker | iptables-restore --table $table
        done
        xargs iptables <"$folder/forward-policy"
        cp "$folder/ip_forward" /proc/sys/net/ipv4/ip_forward
    fi
    rm -rf "$folder"
}
