#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A repository: commits, branches, a merge, a conflict, gc, a clone.
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE=2020-01-01T00:00:00Z
export GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
export GIT_CONFIG_NOSYSTEM=1 HOME=/nowhere GIT_TERMINAL_PROMPT=0
commits=${SMALL:+2}
mkdir repository
cd repository
git init -q -b main .
for i in $(seq 1 "${commits:-12}"); do
    mkdir -p "folder/$i"
    seq "$i" $((i * 300)) >numbers
    seq 1 "$i" >"folder/$i/text"
    git add -A
    git commit -q -m "commit $i"
done
git checkout -q -b side HEAD~1
echo side >side
sed -i 's/^7$/seven/' numbers
git add side numbers
git commit -q -m side
git merge -m merge main || git merge --abort
git tag -a -m 'a tag' v1
git log --graph --stat --format='%H %an %ad %s' --all
git diff HEAD~1 -- numbers | sha256sum
[ -n "${SMALL:-}" ] || {
    git gc -q --prune=now
    git fsck --full
    git repack -q -a -d -f --depth=20
}
git rev-list --objects --all | sort | sha256sum
cd ..
git clone -q repository clone
cd clone
git log --format=%H
git blame numbers | sha256sum
git grep -c 1 | sha256sum
git status --short --branch
git archive HEAD | sha256sum
! git show no-such-thing
