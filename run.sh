#!/bin/sh
# Sets ModelDesk up in its own virtual environment (.venv) and starts the dashboard.
#
#   ./run.sh                      start on http://127.0.0.1:8501
#   ./run.sh --server.port 8600   whatever `streamlit run` takes
#   ./run.sh --install [EXTRA]    only set up (test.sh does so, with the extra "dev")
#
# Needs Python 3.11 or newer (PYTHON=... chooses one), nothing else. Where that Python cannot make an environment
# with pip (Debian without python3-venv), the missing package is installed by apt if we may. Packages come through
# pip as it is configured on this machine, or through uv with the same settings when pip can get it: it is faster.
set -eu
cd "$(dirname "$0")"
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH # uncompiled modules import several times slower
venv=$PWD/.venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "modeldesk: $*"
    exit 1
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if is_recent "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and ${PYTHON:-python3} is not: install it, or name one: PYTHON=/path/to/python $0"
}

# An environment that was copied, or whose Python is gone, is not ours any more.
is_whole() {
    [ -x "$python" ] && is_recent "$python" &&
        [ "$("$python" -c 'import sys; print(sys.prefix)')" = "$venv" ] && "$python" -m pip --version >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian's package of pip's wheel can be unpacked by anyone; nothing has to be installed for it.
make_environment_from_wheel() {
    rm -rf "$venv"
    "$base" -m venv --without-pip "$venv" || return 1
    if ! ls /usr/share/python-wheels/pip-*.whl >/dev/null 2>&1; then
        (cd "$venv" && apt-get download -qq python3-pip-whl >/dev/null 2>&1 && dpkg -x python3-pip-whl_*.deb .) || return 1
    fi
    for wheel in "$venv"/usr/share/python-wheels/pip-*.whl /usr/share/python-wheels/pip-*.whl; do
        [ -f "$wheel" ] && "$python" "$wheel/pip" install --quiet --no-index "$wheel" >&2 && is_whole && return
    done
    return 1
}

make_environment() {
    base=$(find_python)
    say "modeldesk: making an environment in .venv with $("$base" --version)"
    rm -rf "$venv"
    "$base" -m venv "$venv" >/dev/null 2>&1 && is_whole && return
    rm -rf "$venv"
    "$base" -m virtualenv "$venv" >/dev/null 2>&1 && is_whole && return
    rm -rf "$venv"
    # Debian keeps what venv needs in packages of its own; pip can also install itself into a bare environment.
    if "$base" -m pip --version >/dev/null 2>&1 && "$base" -m venv --without-pip "$venv" >/dev/null 2>&1; then
        "$base" -m pip --python "$python" install --quiet pip >/dev/null 2>&1 && is_whole && return
    fi
    rm -rf "$venv"
    package=$("$base" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if command -v apt-get >/dev/null 2>&1; then
        say "modeldesk: this Python cannot make an environment with pip; installing $package"
        export DEBIAN_FRONTEND=noninteractive
        as_root apt-get install -y --no-install-recommends "$package" >/dev/null 2>&1 </dev/null ||
            { as_root apt-get update && as_root apt-get install -y --no-install-recommends "$package"; } \
                >&2 </dev/null || say "modeldesk: cannot install $package; trying without"
        "$base" -m venv "$venv" && is_whole && return
    fi
    make_environment_from_wheel && return
    rm -rf "$venv"
    fail "$base cannot make a virtual environment; install its venv module (Debian: apt-get install $package)"
}

# uv does not read pip's settings: hand over where packages come from, and how pip chooses among several places.
pip_setting() {
    printf '%s\n' "$settings" | sed -n "s/^[^.]*\.$1='\(.*\)'\$/\1/p" | sed 's/\\n/ /g; s/^ *//; s/ *$//' | tail -n 1
}

use_pip_settings() {
    settings=$("$python" -m pip config list 2>/dev/null || true)
    value=$(pip_setting index-url) && [ -n "$value" ] && export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$value}"
    value=$(pip_setting extra-index-url)
    if [ -n "$value" ]; then
        export UV_INDEX="${UV_INDEX:-$value}" UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"
    fi
    value=
    for place in $(pip_setting find-links); do # uv stops at a folder that is not there, where pip passes it over
        case $place in *://*) ;; *) [ -e "$place" ] || continue ;; esac
        value=${value:+$value,}$place
    done
    [ -z "$value" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$value}"
    value=$(pip_setting cert)
    [ -z "$value" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$value}"
    value=$(pip_setting trusted-host)
    [ -z "$value" ] || export UV_INSECURE_HOST="${UV_INSECURE_HOST:-$value}"
    value=$(pip_setting no-index)
    case $value in '' | 0 | false | no) ;; *) export UV_NO_INDEX=1 ;; esac
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
}

install_packages() {
    extra=$1
    wanted=$(cat requirements.txt pyproject.toml | cksum)
    stamp=$venv/.modeldesk-$extra
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "modeldesk: installing packages into .venv (once; about a minute)"
    if "$python" -m uv --version >/dev/null 2>&1 ||
        "$python" -m pip install --quiet --disable-pip-version-check uv >/dev/null 2>&1; then
        use_pip_settings
        if "$python" -m uv pip install --quiet --python "$python" --compile-bytecode --editable ".[$extra]"; then
            echo "$wanted" >"$stamp"
            return
        fi
        say "modeldesk: uv could not; trying pip"
    fi
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]" ||
        fail "the packages could not be installed: see above"
    echo "$wanted" >"$stamp"
}

# Where PYTHONDONTWRITEBYTECODE is set, nobody else would ever compile our own files.
compile_sources() {
    "$python" -m compileall -q -x '/\.|/build/' . >/dev/null 2>&1 || true
}

is_whole || make_environment
if [ "${1:-}" = --install ]; then
    install_packages "${2:-app}"
    compile_sources
    exit
fi
install_packages app
compile_sources
exec "$python" -m streamlit run streamlit_app.py "$@"
