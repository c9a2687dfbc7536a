#!/bin/bash
# Installs the foreign clients and builds their drivers, from their registries, into tests/.work/clients (git-ignored).
# A part whose inputs did not change since it was made is not made again. usage: setup.sh [PART...]
# Parts: java kcat python go node rust. A part that fails is named at the end, and the exit code says so.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=${CLIENTS_WORK:-$(dirname "$HERE")/.work/clients}
mkdir -p "$WORK"
# Test programs that run side by side all ask for the set-up: one after the other.
exec 9> "$WORK/.lock"
flock 9

java_() {
  if [ ! -f "$WORK/java-lib/.complete" ]; then
    mvn -q -B -f "$HERE/java/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$WORK/java-lib" && touch "$WORK/java-lib/.complete" || return
  fi
  mkdir -p "$WORK/java" && javac -cp "$WORK/java-lib/*" -d "$WORK/java" "$HERE/java/Driver.java"
}
kcat_() {
  command -v kcat > /dev/null && return
  apt-get install -y -qq --no-install-recommends kcat || { apt-get update -qq && apt-get install -y -qq --no-install-recommends kcat; }
}
python_() {
  [ -x "$WORK/venv/bin/python" ] || python3 -m venv "$WORK/venv" || return
  "$WORK/venv/bin/pip" install -q --disable-pip-version-check -r "$HERE/python/requirements.txt"
}
go_() { mkdir -p "$WORK/go" && cd "$HERE/go" && go build -o "$WORK/go/driver" .; }
node_() {
  mkdir -p "$WORK/node" && cp "$HERE/node/package.json" "$HERE/node/driver.mjs" "$WORK/node/" && cd "$WORK/node" &&
    { cmp -s package.json .complete || { npm install --silent --no-package-lock && cp package.json .complete; }; }
}
rust_() { cd "$HERE/rust" && CARGO_TARGET_DIR="$WORK/rust" cargo build --locked --quiet; }

inputs() { # the part's own files and this script
  case $1 in kcat) set -- setup.sh ;; *) set -- setup.sh "$1" ;; esac
  (cd "$HERE" && find "$@" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum; echo "$HERE")
}
failed=0
for part in "${@:-java kcat python go node rust}"; do
  for part in $part; do
    stamp=$WORK/$part.stamp
    inputs "$part" > "$stamp.new"
    # kcat lies in the system, not in our directory: another machine may lack it.
    if cmp -s "$stamp" "$stamp.new" && { [ "$part" != kcat ] || command -v kcat > /dev/null; }; then continue; fi
    start=$SECONDS
    if ( "${part}_" ) > "$WORK/$part.log" 2>&1; then
      mv "$stamp.new" "$stamp"; echo "set up $part in $((SECONDS - start)) s"
    else
      echo "setting up $part failed:" >&2; tail -15 "$WORK/$part.log" >&2; failed=1
    fi
  done
done
exit $failed
