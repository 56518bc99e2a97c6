# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Debian packages for the scripts in contrib: what a list asks for, what of it is
# missing, and its installation. To be sourced by bash; needs nothing else.
#
# A list is a file with one package a line; # begins a comment.

# packages_in LIST...: the names, one a line.
packages_in() {
    sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$@"
}

# packages_missing LIST...: the names of those that are not installed.
packages_missing() {
    local name
    packages_in "$@" | while read -r name; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            echo "$name"
    done
}

# packages_ensure LIST...: installs what is missing, as root or with sudo. Returns 1
# after saying what to do by hand where that is not possible. Where there is no
# apt-get it says so and returns 0: the libraries may be there under other names.
packages_ensure() {
    local missing before new sudo=()
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "No apt-get here; going on with what is installed." >&2
        echo "What Debian calls it: $(packages_in "$@" | xargs)" >&2
        return 0
    fi
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0

    echo "installing ${missing[*]}" >&2
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null || ! sudo -v; then
            echo "This needs root, and sudo will not do. As root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        sudo=(sudo)
    fi
    before=$(enabled_services)
    if ! packages_install "${missing[@]}"; then
        echo "apt-get failed (see above). By hand: apt-get install ${missing[*]}" >&2
        return 1
    fi
    new=$(comm -13 <(echo "$before") <(enabled_services) | xargs)
    [[ -z $new ]] || echo "The packages brought services, not started now but at the next boot." \
        "To prevent that: systemctl disable $new" >&2
}

# packages_unpack FOLDER LIST...: their files below FOLDER, as they would be below /, without
# installing anything: no service, no module enabled for a server of this machine. It stays without
# those that cannot be had, after saying so.
packages_unpack() (
    cd "$1"
    shift
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "No apt-get here; going on without $(packages_in "$@" | xargs)" >&2
        exit 0
    fi
    packages_in "$@" | while read -r name; do
        # the user that apt gives up being root for may not get here
        said=$(apt-get -q -o APT::Sandbox::User=root download "$name" 2>&1 </dev/null) ||
            echo "going on without $name: $(tail -n 1 <<<"$said")" >&2
    done
    for file in ./*.deb; do
        [[ ! -e $file ]] || dpkg-deb -x "$file" .
    done
)

enabled_services() {
    ! command -v systemctl >/dev/null ||
        systemctl list-unit-files --type=service --state=enabled --no-legend 2>/dev/null |
        cut -d ' ' -f 1 | sort
}

# packages_install NAME...: uses the caller's array `sudo` as the words before a command.
# Debian starts a package's service on installation. invoke-rc.d and
# deb-systemd-invoke both ask policy-rc.d first; the one put there for the time
# being says no only while this script runs, should it be left behind.
packages_install() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        # shellcheck disable=SC2064 # the words as they are now
        trap "${sudo[*]} rm -f $policy" EXIT
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\n# by %s, while it installs packages\n[ ! -d /proc/%d ] || exit 101\n' \
            "${0##*/}" $$ | "${sudo[@]}" tee $policy >/dev/null && "${sudo[@]}" chmod 755 $policy
    fi
    apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    said=$({ "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; } </dev/null 2>&1) || {
        echo "$said" >&2
        exit 1
    }
)
