#!/bin/sh
# Puts the program, and what systemd needs to run it, where they belong; for 'make install-service'.
# Nothing is started, no account is made, and a configuration that is there stays.
#
# From the environment: DESTDIR (below which a package is built), PREFIX (/usr), SYSCONFDIR (/etc),
# PYTHON (python3, 3.11 or newer), RUNBOOKS (where links of alerts lead: a URL), and DEPENDENCIES
# (no: they are there already).
set -eu
umask 022

prefix="${PREFIX:-/usr}"
etc="${SYSCONFDIR:-/etc}"
lib="$prefix/lib/ckptd"
doc="$prefix/share/doc/ckptd"
runbooks="${RUNBOOKS:-file://$doc/runbooks}"
to="${DESTDIR:-}"
python="$(command -v "${PYTHON:-python3}")" || { echo "${PYTHON:-python3} is not there" >&2; exit 1; }
closed="$("$python" -c '
import pathlib, sys
program = pathlib.Path(sys.executable).resolve()
ways = (*reversed(program.parents), program)
print(next((each for each in ways if not each.stat().st_mode & 0o001), ""))')"
[ -z "$closed" ] ||
    echo "$closed is closed to other users: ckptd could not run $python. Set PYTHON=/usr/bin/python3." >&2

cd "$(dirname "$0")/.."

install -d "$to$lib" "$to$prefix/bin"
rm -rf "$to$lib/ckptd"
cp -R ckptd "$to$lib/"
find "$to$lib/ckptd" -name __pycache__ -prune -exec rm -rf {} +
if [ "${DEPENDENCIES:-yes}" = yes ]; then
    "$python" -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["dependencies"], sep="\n")' |
        "$python" -m pip --quiet --disable-pip-version-check install --upgrade \
            --target "$to$lib" --requirement /dev/stdin
fi
program() {
    cat > "$to$prefix/bin/$1" <<END
#!/bin/sh
exec "$python" -I -c "import sys; sys.path.insert(0, '$lib'); from $2 import main; sys.exit(main())" "\$@"
END
    chmod 0755 "$to$prefix/bin/$1"
}
program ckptd ckptd.cli.daemon
program ckptctl ckptd.cli.ctl.command

install -d "$to$etc/systemd/system" "$to$etc/sysusers.d" "$to$etc/tmpfiles.d"
sed -e "s|=/usr/bin/|=$prefix/bin/|" -e "s| /etc/ckptd/| $etc/ckptd/|" \
    deploy/systemd/ckptd.service > "$to$etc/systemd/system/ckptd.service"
install -m 0644 deploy/sysusers.d/ckptd.conf "$to$etc/sysusers.d/"
install -m 0644 deploy/tmpfiles.d/ckptd.conf "$to$etc/tmpfiles.d/"
install -d -m 0750 "$to$etc/ckptd"
[ -e "$to$etc/ckptd/ckptd.toml" ] || install -m 0640 configs/ckptd.toml "$to$etc/ckptd/"

install -d "$to$doc/runbooks" "$to$doc/ckptd.service.d"
install -m 0644 deploy/runbooks/*.md "$to$doc/runbooks/"
install -m 0644 deploy/systemd/ckptd.service.d/* deploy/systemd/*.socket "$to$doc/ckptd.service.d/"
sed -e "s|file:///usr/share/doc/ckptd/runbooks|$runbooks|" deploy/prometheus/rules.yml > "$to$doc/rules.yml"

cat <<END
Next, as root:
  systemd-sysusers && systemd-tmpfiles --create ckptd.conf
  install -d -o ckptd -g ckptd -m 0750 /data/checkpoints    # each directory of [roots]
  edit $etc/ckptd/ckptd.toml, then: ckptd check-config --user ckptd
  systemctl daemon-reload && systemctl enable --now ckptd
END
