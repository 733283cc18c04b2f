#!/bin/sh
# Runs tests/verify as an ordinary user: the sandbox must hold without root's rights as well.
#
# As root: makes a user, puts this checkout's tracked files into its home, makes a virtual
# environment there of the system's Python (else of one that the user can reach), and runs the
# tests. In CI on a Debian-like system, python3-venv is installed where it is missing. As anybody else: runs
# the tests right here. Options: arguments are passed to pytest.
#   OCI_LSP_TEST_USER    the user's name (default: oci-lsp-test; made if there is none, and kept)
#   OCI_LSP_TEST_PYTHON  Python >= 3.11 that the user can execute (default: the first one found)
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    exec "${PYTHON:-.venv/bin/python}" -m pytest tests/verify "$@"
fi

user=${OCI_LSP_TEST_USER:-oci-lsp-test}
id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/sh "$user"
home=$(getent passwd "$user" | cut -d: -f6)
as_user() {
    runuser -u "$user" -- env -i HOME="$home" USER="$user" LANG=C.UTF-8 \
        PATH="/usr/local/bin:/usr/bin:/bin" "$@"
}
new_enough='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

if [ -n "${CI:-}" ] && command -v apt-get >/dev/null && ! /usr/bin/python3 -c "$new_enough"; then
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null || true
fi

python=""
for candidate in ${OCI_LSP_TEST_PYTHON:-} /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
    if as_user "$candidate" -c "$new_enough" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    # Root's home is closed to others, so the Python that runs this checkout is copied.
    base=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
    rm -rf "$home/python"
    mkdir -p "$home/python"
    (cd "$base" && tar cf - --exclude='*/site-packages/*' --exclude='*/test/*' bin lib include) |
        (cd "$home/python" && tar xf -)
    mkdir -p "$home/python/lib/$(basename "$(ls -d "$base"/lib/python3.*)")/site-packages"
    chown -R "$user" "$home/python"
    for candidate in "$home"/python/bin/python3.[0-9][0-9]; do
        python=$candidate
    done
    if ! as_user "$python" -c "$new_enough"; then
        echo "verify_as_user.sh: $user can run no Python >= 3.11;" \
            "name one in OCI_LSP_TEST_PYTHON" >&2
        exit 1
    fi
fi

checkout="$home/checkout"
mkdir -p "$checkout"
find "$checkout" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard |
    tar cf - --null --ignore-failed-read --files-from=- 2>/dev/null |
    (cd "$checkout" && tar xf -)
chown -R "$user" "$checkout"

# pip's own settings (an index, a proxy) are the machine's, not the user's to know.
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CONFIG_FILE HTTPS_PROXY \
    SSL_CERT_FILE REQUESTS_CA_BUNDLE; do
    eval "value=\${$name:-}"
    [ -z "$value" ] || pip_settings="${pip_settings:-} $name=$value"
done
stamp="$checkout/.venv/installed"
if ! cmp -s "$stamp" pyproject.toml; then
    as_user "$python" -m venv --clear "$checkout/.venv"
    # shellcheck disable=SC2086 # a list of assignments
    as_user env ${pip_settings:-} "$checkout/.venv/bin/pip" install -q --disable-pip-version-check \
        -c "$checkout/constraints.txt" -e "$checkout[dev]"
    as_user cp "$checkout/pyproject.toml" "$stamp"
fi
cd "$checkout"
as_user .venv/bin/python -m pytest tests/verify \
    tests/terminal/test_cli.py::test_apply_to_a_read_only_file_is_refused_before_any_work "$@"
