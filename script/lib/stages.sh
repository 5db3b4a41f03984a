# shellcheck shell=bash
# Sourced by the scripts: headings with timing, and installing Debian packages.

# stage NAME COMMAND…: runs it under a heading and says how long it took. `set -e` stays on.
stage() {
  local name=$1 begun=$SECONDS
  shift
  heading "$name"
  "$@"
  printf -- '--- %s: %d s\n' "$name" $((SECONDS - begun))
}

heading() {
  printf '\n=== %s\n' "$1"
}

# die MESSAGE: says why, and ends the script.
die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# measurement PACKAGE TARGET… TEST: a test that no other run includes, for what it prints. Cargo calls it a success
# when there is none of that name.
measurement() {
  local test=${!#}
  local run=(cargo test --release --locked -p "${@:1:$#-1}" -- --ignored --exact "$test")
  [ "$("${run[@]}" --list | grep -c ': test$')" = 1 ] || die "there is no measurement \`$test\`"
  "${run[@]}" --nocapture
}

# install_debian_packages NAME…: installs what is missing; asks apt nothing when nothing is.
install_debian_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
      missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    echo "all installed"
    return
  fi
  command -v apt-get >/dev/null || die "no apt-get here; install by hand: ${missing[*]}"
  local root=()
  if [ "$(id -u)" != 0 ]; then root=(sudo); fi
  echo "installing ${missing[*]}"
  "${root[@]}" apt-get update -qq
  # No package may start its server: the tests start their own.
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
