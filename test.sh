#!/bin/sh
# Installs what the tests need and runs the checks.
#
#   ./test.sh                     everything: lint, types, all tests with the slow ones, a browser, a real PostgreSQL
#   ./test.sh --fast              what one runs while working, in two minutes: no slow tests, no browser, fewer examples
#   ./test.sh --lint              only lint and types
#   ./test.sh --fast -k registry  the rest goes to pytest
#
# System packages (PostgreSQL, Chromium with what it needs, git) are installed by apt where they are missing, as root or through sudo.
# The tests come last, so that pytest's closing lines stand at the end; a failure anywhere gives a non-zero exit.
set -eu
cd "$(dirname "$0")"
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH
export PYTHONHASHSEED="${PYTHONHASHSEED:-0}" # the workers of a parallel run must collect the same tests in the same order
python=$PWD/.venv/bin/python

say() { printf '%s\n' "$*" >&2; }

mode=all
case ${1:-} in
--fast) mode=fast && shift ;;
--lint) mode=lint && shift ;;
--help | -h)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
    exit
    ;;
esac

has_postgres() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1; }
has_chromium() { command -v chromium >/dev/null 2>&1; }
has_libatomic() { ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1; }
has_font() { ls /usr/share/fonts/truetype/*/*.ttf >/dev/null 2>&1; }

missing_packages() {
    has_postgres || [ "${MODELDESK_TEST_POSTGRES:-1}" = 0 ] || echo postgresql
    command -v git >/dev/null 2>&1 || echo git # a run stores the commit it ran from
    [ "$mode" = fast ] || has_chromium || echo chromium
    [ "$mode" = fast ] || has_libatomic || echo libatomic1 # of the program through which Playwright drives the browser
    [ "$mode" = fast ] || has_font || echo fonts-dejavu-core
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_system_packages() {
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086 # one word a package
    set -- $packages
    say "test.sh: installing $*"
    if ! command -v apt-get >/dev/null 2>&1; then
        say "test.sh: no apt-get here: install $* by hand; going on without"
        return 0
    fi
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 </dev/null && return 0
    as_root apt-get update -qq </dev/null >&2 &&
        as_root apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2 && return 0
    say "test.sh: could not install $*; as root: apt-get install $*; the tests that need them will fail"
}

failed=
check() {
    say "test.sh: $*"
    "$python" -m "$@" || failed="$failed
test.sh: FAILED: $*"
}

# Two browsers and a database server beside a simulation can starve a test on a small machine. What failed beside
# others is run once more alone, and counts as failed only when it fails there too; both runs are printed.
run_tests() {
    say "test.sh: pytest $*"
    status=0
    "$python" -m pytest -n auto --dist worksteal "$@" || status=$?
    if [ "$status" = 1 ]; then
        say "test.sh: once more, alone: what failed beside others"
        status=0
        "$python" -m pytest -n 0 --last-failed --last-failed-no-failures none "$@" || status=$?
    fi
    [ "$status" = 0 ] || failed="$failed
test.sh: FAILED: pytest $*"
}

[ "$mode" = lint ] || install_system_packages
./run.sh --install dev

if [ "$mode" != fast ]; then
    check ruff check --output-format concise .
    check ruff format --check --output-format concise .
    check mypy .
fi
if [ "$mode" != lint ]; then
    if [ "$mode" = fast ]; then
        set -- -m "not slow and not browser" --hypothesis-profile modeldesk-fast "$@"
    fi
    run_tests "$@"
fi
if [ -n "$failed" ]; then
    say "$failed"
    exit 1
fi
