# shellcheck shell=bash
# Sourced by the scripts that measure: servers pinned to a core each, and how quiet the machine was.
# They fill `port` with a port by name; `pid` has the process by name.

# shellcheck disable=SC2034 # used by those who source this
bin=${CARGO_TARGET_DIR:-target}/release
cedargate=${CEDARGATE:-$bin/cedargate}
declare -A port=() pid=()
started=()
# In memory: no disk is measured, but where logs go.
work=$(mktemp -d /dev/shm/cedargate-bench.XXXXXX)
mkdir -p "${CARGO_TARGET_DIR:-target}"
logs=$(realpath "$(mktemp -d "${CARGO_TARGET_DIR:-target}/bench-logs.XXXXXX")")

# build PACKAGE…: and ours, unless CEDARGATE names a binary that is there.
build() {
  local packages=("$@")
  if [ -z "${CEDARGATE-}" ]; then packages+=(cedargate); fi
  if [ ${#packages[@]} -gt 0 ]; then cargo build --release --locked "${packages[@]/#/--package=}"; fi
}

# start CORE NAME COMMAND…
start() {
  local core=$1 name=$2
  shift 2
  taskset -c "$core" "$@" >"$work/${name//\//-}.out" 2>&1 &
  pid[$name]=$!
  started+=($!)
  if [ -n "${port[$name]-}" ]; then await_port "${port[$name]}" "$name"; fi
}

await_port() {
  local attempt name=${2-cedargate}
  for attempt in {1..600}; do # ten thousand rules cost Cerbos more than ten seconds
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    # Who has ended will not listen.
    if [ -n "${pid[$name]-}" ] && ! kill -0 "${pid[$name]}" 2>/dev/null; then break; fi
    sleep 0.1
  done
  cat "$work/${name//\//-}.out" >&2
  die "nothing listens on port $1 after $attempt attempts"
}

reverse() {
  local -n list=$1
  local reversed=() item
  for item in "${list[@]}"; do reversed=("$item" "${reversed[@]}"); done
  list=("${reversed[@]}")
}

# As many routes, of a list in a configuration: none is asked for.
more_routes() {
  seq 1 "$1" | sed 's#.*#  - { match: "/area&/{a}/things/{id}", methods: [GET], upstream: records, scope: records:read, action: view_record, resource: "Record/{id}" }#'
}

# User and system ticks of a process and its children (nginx works in a child).
ticks() {
  local user=0 system=0 process fields
  for process in "$1" $(pgrep -P "$1" || true); do
    # The name in field 2 may hold spaces: count from behind it.
    fields=$(sed 's/.*) //' "/proc/$process/stat")
    # shellcheck disable=SC2086 # a list of fields
    set -- "$1" $fields
    user=$((user + ${13}))
    system=$((system + ${14}))
  done
  echo "$user $system"
}

# Kilobytes that a process and its children have in memory.
resident() {
  local sum=0 process one
  for process in "$1" $(pgrep -P "$1" || true); do
    one=$(sed -n 's/^VmRSS:\s*\([0-9]*\).*/\1/p' "/proc/$process/status")
    sum=$((sum + one))
  done
  echo "$sum"
}

# Stolen and all ticks of this machine so far.
stolen() {
  awk '/^cpu / { print $9, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 }' /proc/stat
}

# Time that the host gave to other machines: where it is more than a little, measure again.
print_stolen_since() {
  echo "$1 $(stolen)" | awk '{
    printf "stolen by the host: %.1f %% of the time\n", ($3 - $1) * 100 / ($4 - $2)
  }'
}

clean_up() {
  local process
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work" "$logs"
}
