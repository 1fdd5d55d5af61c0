#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A database of about 100 MB, built and asked.
set -eu
rows=${SMALL:+4000}
rows=${rows:-600000}
sqlite3 data.db >build <<END
pragma journal_mode=wal;
create table t(id integer primary key, a text, b real, c blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < $rows)
insert into t select i, printf('%08x%s', (i * 2654435761) % 4294967296, hex(i * 7919)), i * 1.5 / 7, zeroblob(i % 200)
from n;
create index ta on t(a);
create index tb on t(b desc, id);
create table s(word text primary key, n) without rowid;
insert into s select substr(a, 1, 3), count(*) from t group by 1;
create trigger tt after delete on t begin update s set n = n - 1 where word = substr(old.a, 1, 3); end;
create view v as select t.id, t.a, s.n from t join s on s.word = substr(t.a, 1, 3);
END
cat build
sqlite3 data.db <<'END' || echo "status $?"
select count(*), sum(length(a)), total(b), sum(length(c)) from t;
select a, b from t where a like 'ff%' order by a limit 20;
select substr(a, 1, 2) k, count(*), avg(b), group_concat(id % 10, '') from t where id % 97 = 0 group by k order by 2 desc, 1
limit 10;
begin; update t set b = b + 1 where id % 3 = 0; delete from t where id % 11 = 0; savepoint x; delete from t; rollback to x;
commit;
select json_object('n', count(*), 's', sum(b)), max(a), min(a) from t;
select id, row_number() over (order by b), lag(a) over (partition by id % 7 order by id) from t order by id limit 5 offset 99;
select * from v where n > 2 order by id limit 5;
select strftime('%Y', 86400 * 365 * 10, 'unixepoch'), round(2.5), quote(x'00ff'), like('a%', 'Abc'), glob('a*', 'Abc');
create virtual table f using fts5(body);
insert into f select 'word' || (id % 50) || ' text ' || a from t where id < 3000;
select count(*) from f where f match 'word7 AND text'; select highlight(f, 0, '[', ']') from f where f match 'word9' limit 2;
vacuum;
pragma integrity_check;
pragma page_count;
select no_such_function(1);
END
sqlite3 data.db .dump | sha256sum
sha256sum <data.db
