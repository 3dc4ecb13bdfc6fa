# shellcheck shell=bash
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
#
# The build, always outside the source folder. Each mode has a folder of its own, so that they do not undo each other.

# The folder of the clone and that of the build; ./run sets the first, build the second.
: "${here:?}" "${build_dir=}"

# build MODE : MODE is plain, sanitizers, bench, fuzz or vm; sets $build_dir.
build() {
    local mode=$1 flags=()
    case $mode in
    plain) build_dir=$here/build flags=(--enable-werror) ;;
    sanitizers) build_dir=$here/build-asan flags=(--enable-werror --enable-sanitizers) ;;
    vm) build_dir=$here/build-vm flags=(--enable-werror --prefix=/usr --sysconfdir=/etc --localstatedir=/var) ;;
    bench) build_dir=$here/build-bench flags=('CFLAGS=-O2 -g') ;;
    fuzz) build_dir=$here/build-fuzz flags=(CC=clang --enable-fuzzers 'CFLAGS=-O1 -g') ;;
    esac
    mkdir -p -- "$build_dir"
    # Two builds of one clone would step on each other: the second waits, and then finds everything done.
    local lock
    exec {lock}<"$here"
    flock "$lock"
    step "building in ${build_dir##*/}/"
    : >"$build_dir/run.log"
    autoreconf_if_older && configure_if_older "${flags[@]}" && make_all "$mode" || exit 1
    exec {lock}<&-
}

# What autoreconf makes is the only thing that stands in the source folder, and git ignores it.
autoreconf_if_older() {
    local made
    for made in configure Makefile.in config.h.in; do
        [ "$here/$made" -nt "$here/configure.ac" ] && [ "$here/$made" -nt "$here/Makefile.am" ] && continue
        mkdir -p -- "$here/m4" "$here/build-aux"
        quietly "$build_dir/run.log" autoreconf -fi "$here" || return
        # autoreconf leaves a file alone whose text would not change; its time is what the next look goes by.
        touch -c -- "$here/aclocal.m4" "$here/config.h.in" "$here/Makefile.in" "$here/configure"
        return
    done
}

configure_if_older() {
    [ "$build_dir/config.status" -nt "$here/configure" ] ||
        (cd "$build_dir" && quietly run.log "$here/configure" -q "$@")
}

# The stage is a copy as installed, from which each sandbox takes its own. It must wait for `all`: it runs `install`.
make_all() {
    if [ "$1" = fuzz ]; then
        quietly "$build_dir/run.log" make_here fuzzers
        return
    fi
    quietly "$build_dir/run.log" make_here all && quietly "$build_dir/run.log" make_here stage.stamp
}

# make_here TARGET… : a make of our own, whoever called us.
make_here() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$build_dir" -j"$(nproc)" "$@"
}
