# shellcheck shell=bash
# The base images: from their registry, or made here under the same names.

readonly DEBIAN_IMAGE=debian:bookworm-slim SWIFT_IMAGE=swift:6.3-bookworm
MADE_HERE=()

make_base_images() {
    local image
    for image in "$DEBIAN_IMAGE" postgres:15 redis:7 "$SWIFT_IMAGE"; do
        timeout 600 docker pull -q "$image" >/dev/null 2>"$ENGINE/pull.log" && continue
        say "$image cannot be pulled; making a stand-in of that name"
        stand_in "$image"
        MADE_HERE+=("$image")
    done
}

images_used() {
    if ((${#MADE_HERE[@]} == 0)); then
        printf '# with the images of the registry'
    else
        printf '# stand-ins made here, not the vendors images: %s' "${MADE_HERE[*]}"
    fi
}

stand_in() {
    local log=$ENGINE/images.log
    case $1 in
    "$DEBIAN_IMAGE") debian_image ;;
    postgres:15) postgres_image ;;
    redis:7) redis_image ;;
    "$SWIFT_IMAGE") swift_image ;;
    esac >>"$log" 2>&1 || { show_log "$log" 30 && fail "the stand-in for $1 cannot be made"; }
}

debian_image() {
    local mirror
    mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d |
        head -n 1 | tr -d ' ')
    debootstrap --variant=minbase --include=ca-certificates,curl bookworm "$ENGINE/debian" \
        "${mirror:-http://deb.debian.org/debian}" || return
    rm -rf "$ENGINE"/debian/var/cache/apt/archives/*.deb
    cp /etc/ssl/certs/ca-certificates.crt "$ENGINE/debian/etc/ssl/certs/"
    tar -C "$ENGINE/debian" -c . | docker import -c 'CMD ["/bin/bash"]' \
        -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$DEBIAN_IMAGE"
    rm -rf "$ENGINE/debian"
}

# build_image NAME: from a Dockerfile on standard input, with the folder context/ beside it.
build_image() {
    mkdir -p "$ENGINE/context"
    cat >"$ENGINE/Dockerfile"
    docker build --network host -t "$1" -f "$ENGINE/Dockerfile" "$ENGINE/context" || return
    rm -rf "$ENGINE/context"
}

redis_image() {
    build_image redis:7 <<DOCKERFILE
FROM $DEBIAN_IMAGE
RUN apt-get update && apt-get install -y --no-install-recommends redis-server \
    && install -d -o redis -g redis /data
WORKDIR /data
VOLUME /data
CMD ["redis-server"]
DOCKERFILE
}

postgres_image() {
    mkdir -p "$ENGINE/context"
    cat >"$ENGINE/context/start" <<'START'
#!/bin/sh
# What the vendor's entry point does with these three settings.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
    PGPASSWORD=$POSTGRES_PASSWORD createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -D "$PGDATA" -w stop
fi
exec postgres -D "$PGDATA" -c listen_addresses='*'
START
    chmod 0755 "$ENGINE/context/start"
    build_image postgres:15 <<DOCKERFILE
FROM $DEBIAN_IMAGE
RUN apt-get update && mkdir -p /etc/postgresql-common \
    && apt-get install -y --no-install-recommends postgresql-common \
    && echo "create_main_cluster = false" >> /etc/postgresql-common/createcluster.conf \
    && apt-get install -y --no-install-recommends postgresql-15 \
    && install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data \
    && install -d -o postgres -g postgres -m 3777 /var/run/postgresql
ENV PATH=/usr/lib/postgresql/15/bin:\$PATH PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
COPY start /usr/local/bin/start
CMD ["start"]
DOCKERFILE
}

# This machine's toolchain, and the packages that it has resolved, as git repositories: the build
# inside then needs no network for them.
swift_image() {
    local toolchain repository url
    toolchain=$(cd "$(dirname "$(readlink -f "$(command -v swift)")")/.." && pwd -P)
    [[ $toolchain != /usr ]] || { echo "Swift shares /usr with everything else" && return 1; }
    swift package --package-path "$ROOT" resolve || return
    mkdir -p "$ENGINE/context/packages"
    cp -a "$toolchain" "$ENGINE/context/toolchain" || return
    for repository in "$ROOT"/.build/repositories/*; do
        url=$(git -C "$repository" config remote.origin.url)
        cp -a "$repository" "$ENGINE/context/packages/"
        printf '[url "/packages/%s"]\n\tinsteadOf = %s.git\n\tinsteadOf = %s\n' \
            "$(basename "$repository")" "${url%.git}" "${url%.git}"
    done >"$ENGINE/context/gitconfig"
    printf '[safe]\n\tdirectory = *\n' >>"$ENGINE/context/gitconfig"
    build_image "$SWIFT_IMAGE" <<DOCKERFILE
FROM $DEBIAN_IMAGE
RUN apt-get update && apt-get install -y --no-install-recommends \
    binutils gcc git libc6-dev libcurl4-openssl-dev libedit2 libncurses6 libpython3.11 libsqlite3-0 \
    libstdc++-12-dev libxml2-dev libz3-dev pkg-config tzdata zlib1g-dev
COPY packages /packages
COPY gitconfig /etc/gitconfig
COPY toolchain /usr/
DOCKERFILE
}
