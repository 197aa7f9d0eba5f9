#!/usr/bin/env bash
# Brings everything that running (`setup.sh run`) or testing (`setup.sh test`) needs into the cache:
# system packages, Odoo 19, a virtual environment. Every step is skipped when it is done already,
# checked by a stamp, and built beside its place and moved there, so a broken build is built again.
# Needs no root, except to install missing system packages.
set -euo pipefail
shopt -s nullglob
umask 022

goal=${1:-run}
here=$(cd "$(dirname "$0")/.." && pwd)
cache=${BILLING_CACHE:?run this through make}
python=${PYTHON:-python3}
arch=$(dpkg --print-architecture 2>/dev/null || true)

say() { printf '==> %s\n' "$*"; }
die() { printf '\nsetup: %s\n' "$*" >&2; exit 1; }

mkdir -p "$cache"
exec 9>"$cache/.setup.lock"
flock -n 9 || { say "waiting for another setup that uses the same cache"; flock 9; }

# --- stamps: number of files and sum of bytes of a folder, without what running it writes ------------
measure() {
    find "$1" -name __pycache__ -prune -o -type f ! -name .stamp -printf '%s\n' |
        awk '{ n++; s += $1 } END { printf "%d files %.0f bytes\n", n, s }'
}
stamp() { local sum; sum=$(measure "$1"); echo "$sum" >"$1/.stamp"; }
intact() { [ -f "$1/.stamp" ] && [ "$(cat "$1/.stamp")" = "$(measure "$1")" ]; }

# --- system packages ----------------------------------------------------------------------------------
has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }
has_font() { [ -n "$(find /usr/share/fonts /usr/local/share/fonts -iname '*cjk*' -print -quit 2>/dev/null)" ]; }

missing_packages() {
    has_venv || echo python3-venv
    command -v wkhtmltopdf >/dev/null || echo wkhtmltopdf
    has_font || echo fonts-noto-cjk
    if [ "$goal" = test ]; then
        [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || echo chromium
        command -v pdftoppm >/dev/null || echo poppler-utils
    fi
}

system_packages() {
    local missing sudo=()
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            sudo=(sudo -n)
        else
            die "please install, as root: apt-get install --no-install-recommends ${missing[*]}"
        fi
    fi
    command -v apt-get >/dev/null || die "please install (names as in Debian): ${missing[*]}"
    say "installing system packages: ${missing[*]}"
    local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends)
    "${install[@]}" "${missing[@]}" >"$cache/apt-install.log" 2>&1 ||
        { "${sudo[@]}" apt-get update -qq >>"$cache/apt-install.log" 2>&1 &&
            "${install[@]}" "${missing[@]}" >>"$cache/apt-install.log" 2>&1; } ||
        { tail -n 5 "$cache/apt-install.log" >&2; die "apt-get could not install: ${missing[*]} (no network?)"; }
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -eq 0 ] || die "still missing after the installation: ${missing[*]}"
}

# --- packages from Debian's archive, unpacked into the cache, with private package lists -----------------
# The mirror is the machine's own; only the suite is another one. apt verifies signatures and checksums.
apt=$cache/apt
own=(-o "Dir::State::Lists=$apt/own" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
sid=(-o "Dir::State::Lists=$apt/sid" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)"
    -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts")
lists_read=

read_lists() {
    [ -z "$lists_read" ] || return 0
    command -v apt-get >/dev/null || die "this is no Debian machine: set ODOO_HOME to an Odoo 19 source checkout"
    mkdir -p "$apt"/{own,sid}/partial "$apt"/{cache,parts,debs}/partial
    say "reading the package lists"
    apt-get "${own[@]}" -qq update >"$apt/update.log" 2>&1 || true
    local mirror
    mirror=$(apt-get "${own[@]}" indextargets --format '$(ORIGIN)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" && $2 == "main" && $3 !~ /-/ { print $4; exit }')
    [ -n "$mirror" ] || die "no Debian package source can be read (network? $apt/update.log). Not cached; set ODOO_HOME to an Odoo 19 source checkout to do without"
    printf 'deb [signed-by=%s] %s sid main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$mirror" >"$apt/parts/sid.list"
    apt-get "${sid[@]}" -qq update >>"$apt/update.log" 2>&1 ||
        say "no network: going on with the package lists and the packages in $apt"
    lists_read=1
}

# download LISTS PACKAGE…: prints the paths of the packages
download() {
    local -n options=$1
    shift
    (
        # apt names no file that is there already: ask in an empty folder
        cd "$apt/debs/partial"
        apt-get "${options[@]}" -q --print-uris download "$@" >"$apt/uris" 2>>"$apt/update.log" ||
            { tail -n 3 "$apt/update.log" >&2; exit 1; }
        cd "$apt/debs"
        apt-get "${options[@]}" -q download "$@" >>"$apt/update.log" 2>&1 || { tail -n 3 "$apt/update.log" >&2; exit 1; }
        awk -v at="$apt/debs/" '{ print at $2 }' "$apt/uris"
    ) || die "could not download: $* (no network? cached: $(ls "$apt/debs" | tr '\n' ' '))"
}

unpack() {
    local into=$1 deb
    shift
    for deb in "$@"; do dpkg-deb -x "$deb" "$into"; done
}

# --- Odoo -----------------------------------------------------------------------------------------------
odoo_library() {
    local try
    for try in "$1" "$1/usr/lib/python3/dist-packages"; do
        if [ -f "$try/odoo/release.py" ]; then echo "$try"; return; fi
    done
    return 1
}

odoo() {
    if [ -n "${ODOO_HOME:-}" ]; then
        local library
        library=$(odoo_library "$ODOO_HOME") || die "ODOO_HOME=$ODOO_HOME holds no Odoo (no odoo/release.py)"
        grep -qE '^version_info = \(19,' "$library/odoo/release.py" || die "ODOO_HOME=$ODOO_HOME is not Odoo 19"
        return
    fi
    local target=$cache/odoo build=$cache/odoo.new library
    if intact "$target"; then return; fi
    [ ! -e "$target" ] || say "Odoo in the cache is incomplete: building it again"
    rm -rf "$target" "$build"
    read_lists
    say "downloading Odoo 19 (about 120 MB, once)"
    local from_sid from_own
    from_sid=$(download sid odoo-19 libjs-jquery libjs-underscore libjs-jquery-form \
        fonts-roboto-unhinted fonts-montserrat fonts-ocr-b)
    # sid's Font Awesome has other files than the web client asks for
    from_own=$(download own fonts-font-awesome fonts-inconsolata)
    say "unpacking Odoo (about 1.2 GB)"
    mkdir -p "$build"
    # shellcheck disable=SC2086
    unpack "$build" $from_sid $from_own
    library=$(odoo_library "$build") || die "the package odoo-19 looks different from what this script knows"
    # a stray copy without data files that shadows the real addons
    rm -rf "$library/addons"
    # the one library that Debian leaves out; without the file every back-end page logs an error
    local stub=$library/odoo/addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js
    [ -e "$stub" ] || { mkdir -p "${stub%/*}"; : >"$stub"; }
    local dangling
    dangling=$(find "$build" -xtype l)
    [ -z "$dangling" ] || die "links of Odoo's package point nowhere:"$'\n'"$dangling"
    stamp "$build"
    mv -T "$build" "$target"
}

# --- docker-compose's own binary, which checks a compose file without an engine --------------------------
compose() {
    local target=$cache/compose build=$cache/compose.new debs binary
    if intact "$target"; then return; fi
    rm -rf "$target" "$build"
    read_lists
    say "downloading docker-compose (for the check of the compose file)"
    debs=$(download sid docker-compose)
    mkdir -p "$build/unpacked"
    # shellcheck disable=SC2086
    unpack "$build/unpacked" $debs
    binary=$(find "$build/unpacked" -type f -name docker-compose -perm -u+x -size +1M -print -quit)
    [ -n "$binary" ] || die "the package docker-compose holds no binary"
    mv "$binary" "$build/docker-compose"
    rm -rf "$build/unpacked"
    stamp "$build"
    mv -T "$build" "$target"
}

# --- Python packages -------------------------------------------------------------------------------------
virtualenv() {
    local files key target
    files=("$here"/requirements*.txt)
    key=$({ cat "${files[@]}"; "$python" -VV; "$python" -c 'import sys; print(sys.base_prefix)'; } | sha256sum | cut -c1-12)
    target=$cache/venv-$key
    if ! { intact "$target" && "$target/bin/python" -c 'import gevent, lxml.etree, psycopg2, werkzeug' 2>/dev/null; }; then
        [ ! -e "$target" ] || say "the virtual environment is incomplete: building it again"
        rm -rf "$target"
        say "installing Python packages"
        "$python" -m venv "$target"
        local args=() file
        for file in "${files[@]}"; do [ "${file##*/}" = requirements-oca.txt ] || args+=(-r "$file"); done
        wheels "$target" "${args[@]}"
        # OCA's wheels name "odoo" as a dependency, which no index has
        file=$here/requirements-oca.txt
        [ ! -f "$file" ] || wheels "$target" --no-deps -r "$file"
        stamp "$target"
    fi
    ln -sfnT "venv-$key" "$cache/venv"
    for target in "$cache"/venv-*; do
        [ "$target" = "$cache/venv-$key" ] || [ -n "$(find "$target" -maxdepth 0 -mtime -7)" ] || rm -rf "$target"
    done
}

# wheels VENV ARGUMENT…: into the cache first, then from there, so that a second time needs no network
wheels() {
    local pip="$1/bin/python -m pip --disable-pip-version-check -q" log=$cache/pip.log
    shift
    if ! $pip wheel --use-pep517 --wheel-dir "$cache/wheels" --find-links "$cache/wheels" "$@" >"$log" 2>&1; then
        say "pip could not download all (no network?): going on with the wheels in $cache/wheels"
    fi
    $pip install --no-index --find-links "$cache/wheels" "$@" >>"$log" 2>&1 ||
        { grep -i error "$log" | tail -n 5 >&2; die "Python packages could not be installed; see $log"; }
}

system_packages
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$python is older than Python 3.11: set PYTHON"
odoo
virtualenv
if [ "$goal" = test ]; then compose; fi
