#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run: programs that the kernel starts in secure mode (AT_SECURE), in which the loader ignores
# preloads. They are refused with the reason, so that nothing is silently left unpatched; and nothing else is.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent
clock_patches

if [ "$(id -u)" != 0 ]; then
    # The rights of other users cannot be made here, but a program that has them is nearly everywhere.
    for program in /bin/su /usr/bin/passwd /usr/bin/mount; do
        [ -u $program ] && [ -x $program ] && [ ! -O $program ] || continue
        run "$redefine" run --patch five_pm.so -- $program --version
        refused "a set-user-ID program: $program" 125 "AT_SECURE because it is set-user-ID"
        finish
    done
    skip_all "this is not root, and there is no set-user-ID program"
fi
command -v setpriv >/dev/null || skip_all "setpriv is not installed"

# as_nobody COMMAND…
as_nobody()
{
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
# In a user namespace that knows root alone nobody else can be had.
as_nobody true 2>why || skip_all "this root cannot become another user: $(head -n 1 why)"

# Where another user gets at everything.
open=$(mktemp -d /var/tmp/redefine-secure.XXXXXX)
trap 'rm -rf "$open"' EXIT
chmod 755 "$open"
cp "$redefine" "$BUILD/libredefine-agent.so" "$BUILD/libredefine.so.0" five_pm.so /bin/date "$open/"
chmod 755 "$open"/*
if findmnt -no OPTIONS -T "$open" 2>/dev/null | grep -qw nosuid; then
    skip_all "$open is on a file system with nosuid"
fi

# date_by PREFIX…: runs it as someone.
date_by()
{
    run "$@" "$open/redefine" run --patch "$open/five_pm.so" -- "$open/date" +%H:%M
}

date_by as_nobody
expect "another user, a plain program" 0 17:00
chmod 4755 "$open/date"
date_by as_nobody
refused "set-user-ID" 125 "AT_SECURE because it is set-user-ID"
printf '#!%s +%%H:%%M\n' "$open/date" >"$open/script"
chmod 755 "$open/script"
run as_nobody "$open/redefine" run --patch "$open/five_pm.so" -- "$open/script"
refused "a script whose interpreter is set-user-ID" 125 "AT_SECURE because it is set-user-ID"
date_by env
expect "set-user-ID, run by that very user" 0 17:00
date_by setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs
expect "set-user-ID, where no new privileges can be had" 0 17:00
chown 65534 "$open/date"
chmod 4755 "$open/date"
date_by env
refused "set-user-ID of another user, run by root" 125 "AT_SECURE because it is set-user-ID"
date_by as_nobody
expect "the same, run by its owner" 0 17:00
chown 0:0 "$open/date"
chmod 2755 "$open/date"
date_by as_nobody
refused "set-group-ID" 125 "AT_SECURE because it is set-group-ID"
chmod 2745 "$open/date"
date_by env
expect "set-group-ID without the group's execute bit means something else" 0 17:00
chmod 755 "$open/date"
if command -v setcap >/dev/null && setcap cap_net_raw+ep "$open/date" 2>why; then
    date_by as_nobody
    refused "file capabilities" 125 "AT_SECURE because its file has capabilities"
    date_by env
    expect "file capabilities, run by root" 0 17:00
    setcap -r "$open/date"
else
    skip "file capabilities" "setcap is not there or not allowed here"
fi
chmod 711 "$open/date"
date_by as_nobody
refused "a program that may be executed and not read" 125 "cannot be read"
chmod 755 "$open/date"
chmod 700 "$open/five_pm.so"
date_by as_nobody
refused "a patch that may not be read" 125 "five_pm.so: Permission denied"
chmod 755 "$open/five_pm.so"
chmod 4755 "$open/redefine"
date_by as_nobody
refused "this command itself made set-user-ID" 125 "other rights"
finish
