#!/usr/bin/perl
# SPDX-License-Identifier: MIT
#
# A bit of everything that perl does; nothing printed depends on time, process ids or the order of hashes.
use strict;
use warnings;
$| = 1;
my $rounds = $ENV{SMALL} ? 3 : 300;

# Regular expressions
my $text = join " ", map { "word$_=" . ($_ * 37 % 101) } 1 .. 400;
my %value = $text =~ /(\w+)=(\d+)/g;
printf "%d words, sum %d\n", scalar keys %value, eval { my $s = 0; $s += $_ for values %value; $s };
(my $changed = $text) =~ s/word(\d+)/uc("w") . sprintf("%04x", $1)/ge;
print substr($changed, 0, 60), "\n";
print join("|", split /(?<=[05]) /, substr($text, 0, 80)), "\n";
print "balanced\n" if "((a)(b(c)))" =~ /^(\((?:[^()]++|(?1))*\))$/;
my @dates = "2020-01-02 and 1999-12-31" =~ /(?<y>\d{4})-(?<m>\d\d)-(?<d>\d\d)/g;
print "@dates $+{y}\n";
(my $tr = "hello world") =~ tr/a-y/b-z/;
print "$tr\n";

# Numbers and formats
printf "%5.2f|%-8s|%08b|%e|%g|%s|%x|%o|%c|%+d|%v d\n", 3.14159, "left", 37, 12345.678, 1e-5, 10 / 3, 255, 8, 65, 5, "1.22.333";
print join(",", map { sprintf "%.10g", sqrt($_) + sin($_) * exp(-$_) + atan2($_, 2) } 1 .. 6), "\n";
print 2 ** 62, " ", 9007199254740993 * 3, " ", -7 % 3, " ", int(-7 / 2), " ", 1 <=> 2, " ", "a" x 5, "\n";
print unpack("H*", pack("NnCa4w/a*q>d", 1, 2, 3, "ab", "length", -5, 1.5)), "\n";

# Sorting, closures, recursion
my @sorted = sort { $value{$a} <=> $value{$b} || $a cmp $b } keys %value;
print "@sorted[0 .. 5] $sorted[-1]\n";
sub fibonacci { my $n = shift; $n < 2 ? $n : fibonacci($n - 1) + fibonacci($n - 2) }
print fibonacci($ENV{SMALL} ? 12 : 23), "\n";
my @counters = map { my $n = $_; sub { $n += shift // 1 } } 1 .. 3;
$_->(10) for @counters;
print join(" ", map { $_->() } @counters), "\n";
my %memory;
my $ackermann;
$ackermann = sub {
    my ($m, $n) = @_;
    $memory{"$m,$n"} //= $m == 0 ? $n + 1 : $n == 0 ? $ackermann->($m - 1, 1) : $ackermann->($m - 1, $ackermann->($m, $n - 1));
};
{
    no warnings "recursion";
    print $ackermann->(2, 15), " ", scalar keys %memory, "\n";
}

# Objects, overloading, eval and die, local, wantarray, tie
package Point {
    use overload "+" => sub { Point->new($_[0]{x} + $_[1]{x}, $_[0]{y} + $_[1]{y}) },
        '""' => sub { "($_[0]{x}, $_[0]{y})" }, "==" => sub { "$_[0]" eq "$_[1]" };
    sub new { my ($class, $x, $y) = @_; bless { x => $x, y => $y }, $class }
    sub DESTROY { $Point::gone++ }
}
print Point->new(1, 2) + Point->new(3, 4), " gone ", $Point::gone, "\n";
for my $case ("die 'plain'", "die { code => 7 }", "1 / 0", "undef->method", "my \@a = (1) x -1; 'fine'", "require No::Such") {
    my $result = eval $case;
    my $error = ref $@ ? "code $@->{code}" : $@;
    $error =~ s/ at \(eval.*//s;
    $error =~ s/ \(you may.*| in \@INC.*//s;
    print defined $result ? $result : "", " <$error>\n";
}
{
    package Upper;
    sub TIESCALAR { bless [], shift }
    sub FETCH { uc join "", @{ $_[0] } }
    sub STORE { push @{ $_[0] }, $_[1] }
}
tie my $upper, "Upper";
$upper = $_ for qw(a b c);
print "$upper\n";

# Files, pipes, children, signals
open my $out, ">", "lines" or die;
print $out "$_\n" for map { $_ * 7919 % 1000 } 1 .. 2000;
close $out;
open my $in, "<", "lines" or die;
my $sum = 0;
while (<$in>) {
    chomp;
    $sum += $_ if 10 .. 20 or /7$/;
}
print "$sum at $.\n";
close $in;
print "sorted: ", (split /\n/, `sort -n lines | uniq -c | sort -k1,1nr -k2,2n | head -n 2`)[1], "\n";
print "status ", system("exit 3") >> 8, "\n";
open my $pipe, "-|", "printf 'a\\nb\\n'" or die;
print "pipe: ", join("+", map { chomp; $_ } <$pipe>), "\n";
close $pipe;
for my $i (1 .. 3) {
    my $pid = fork // die;
    exit $i if $pid == 0;
    waitpid $pid, 0;
    print "child: ", $? >> 8, "\n";
}
my $caught = 0;
local $SIG{USR1} = sub { $caught++ };
kill "USR1", $$ for 1 .. 5;
print "caught $caught\n";
eval {
    local $SIG{ALRM} = sub { die "alarm\n" };
    alarm 1;
    select undef, undef, undef, 5;
};
print "woken by $@";
system { "sh" } "sh", "-c", 'kill -TERM $$';
print "signal ", $? & 127, "\n";

# Much of the same, for the loops
my %histogram;
for my $round (1 .. $rounds) {
    my @words = map { chr(97 + ($_ * $round) % 26) x (1 + $_ % 5) } 1 .. 200;
    $histogram{$_}++ for grep { !/^[aeiou]/ } @words;
    my $joined = join ",", reverse sort @words;
    $joined =~ s/(\w)\1+/$1/g;
    $histogram{length $joined}++;
}
print join(" ", map { "$_:$histogram{$_}" } (sort keys %histogram)[0 .. 9]), "\n";
format STDOUT =
@<<<<<< @>>>>>> @||||||
"left", 42, "mid"
.
write;
print sprintf("%vd", "1.2.3"), " ", lc("ÀB"), " ", ucfirst("abc"), " ", join("", reverse split //, "stressed"), "\n";
warn "to stderr\n";
END { print "end, status $?\n" }
exit 5;
